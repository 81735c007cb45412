// Audio that this browser keeps, over reloads: a few blobs by their ids.

const DATABASE = 'sovitsd';
const STORE = 'audio';

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new Error('no storage', { cause: request.error }));
  });
}

async function run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  try {
    const database = await open();
    return await new Promise<T | undefined>((resolve) => {
      const request = work(database.transaction(STORE, mode).objectStore(STORE));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(undefined);
      request.transaction!.oncomplete = () => database.close();
    });
  } catch {
    return undefined; // the browser forbids storage: what it would have kept lasts as long as the page
  }
}

export async function keepAudio(id: string, blob: Blob): Promise<void> {
  await run('readwrite', (store) => store.put(blob, id));
}

export async function keptAudio(id: string): Promise<Blob | undefined> {
  return run<Blob | undefined>('readonly', (store) => store.get(id) as IDBRequest<Blob | undefined>);
}

export async function forgetAudio(id: string): Promise<void> {
  await run('readwrite', (store) => store.delete(id));
}

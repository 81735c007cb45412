// WAV files of 16-bit samples: read as they arrive, and written.

/** Takes a streamed WAV apart: the rate from its header, then samples; pieces may end anywhere. */
export class WavReader {
  rate = 0;
  channels = 1;
  private rest = new Uint8Array(0);

  /** Return the samples that are complete, interleaved where there are several channels. */
  feed(bytes: Uint8Array): Int16Array {
    let data = concatenate([this.rest, bytes]);
    if (!this.rate) {
      const start = this.readHeader(data);
      if (start < 0) {
        this.rest = data;
        return new Int16Array(0);
      }
      data = data.slice(start);
    }
    const even = data.length - (data.length % 2);
    this.rest = data.slice(even);
    return new Int16Array(data.slice(0, even).buffer);
  }

  /** Return where the samples begin; -1 while the header is incomplete. */
  private readHeader(data: Uint8Array): number {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    if (data.length < 12) return -1;
    let position = 12;
    while (position + 8 <= data.length) {
      const name = String.fromCharCode(...data.subarray(position, position + 4));
      const size = view.getUint32(position + 4, true);
      if (name === 'data') return position + 8;
      if (name === 'fmt ' && position + 24 <= data.length) {
        this.channels = view.getUint16(position + 10, true);
        this.rate = view.getUint32(position + 12, true);
      }
      position += 8 + size + (size % 2);
    }
    this.rate = 0;
    return -1;
  }
}

/** Return a WAV; `label` is what the field AIGC says of synthetic speech, in a LIST chunk behind the samples, as in the server's files. */
export function writeWav(samples: Int16Array, rate: number, label = ''): Blob {
  const header = new DataView(new ArrayBuffer(44));
  const text = (position: number, value: string): void => {
    for (let i = 0; i < value.length; i++) header.setUint8(position + i, value.charCodeAt(i));
  };
  const bytes = samples.length * 2;
  const list = label ? chunk('LIST', concatenate([encode('INFO'), chunk('AIGC', encode(`${label}\0`))])) : new Uint8Array(0);
  text(0, 'RIFF');
  header.setUint32(4, 36 + bytes + list.length, true);
  text(8, 'WAVEfmt ');
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * 2, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, 'data');
  header.setUint32(40, bytes, true);
  return new Blob([header.buffer, samples as Int16Array<ArrayBuffer>, list], { type: 'audio/wav' });
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Return a chunk of RIFF; its content is padded to an even length, which does not count. */
function chunk(name: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = new DataView(new ArrayBuffer(4));
  size.setUint32(0, content.length, true);
  return concatenate([encode(name), new Uint8Array(size.buffer), content, new Uint8Array(content.length % 2)]);
}

export function concatenate(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

export function concatenateSamples(parts: Int16Array[]): Int16Array {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

import { describe, expect, it } from 'vitest';
import { concatenateSamples, WavReader, writeWav } from './wav';

const SAMPLES = Int16Array.from({ length: 1000 }, (_, index) => (index * 37) % 30_000);

describe('a WAV', () => {
  it('is read back as it was written, wherever its pieces end', async () => {
    const bytes = new Uint8Array(await writeWav(SAMPLES, 16_000).arrayBuffer());
    expect(bytes.length).toBe(2044);
    for (const size of [1, 7, 44, 45, 5000]) {
      const reader = new WavReader();
      const parts: Int16Array[] = [];
      for (let start = 0; start < bytes.length; start += size) parts.push(reader.feed(bytes.slice(start, start + size)));
      expect(reader.rate).toBe(16_000);
      expect(concatenateSamples(parts)).toEqual(SAMPLES);
    }
  });

  it('has the label of synthetic speech behind its samples', async () => {
    const bytes = new Uint8Array(await writeWav(SAMPLES, 16_000, '{"Label":"1"}').arrayBuffer());
    const list = new TextDecoder().decode(bytes.slice(2044));
    expect(list).toBe('LIST\x1a\0\0\0INFOAIGC\x0e\0\0\0{"Label":"1"}\0');
    expect(new DataView(bytes.buffer).getUint32(4, true)).toBe(bytes.length - 8);
    expect(new WavReader().feed(bytes.slice(0, 2044))).toEqual(SAMPLES);
  });

  it('may have other parts before its samples', async () => {
    const bytes = new Uint8Array(await writeWav(SAMPLES, 32_000).arrayBuffer());
    const list = Uint8Array.from([76, 73, 83, 84, 4, 0, 0, 0, 1, 2, 3, 4]);
    const reader = new WavReader();
    const samples = reader.feed(Uint8Array.from([...bytes.slice(0, 36), ...list, ...bytes.slice(36)]));
    expect([reader.rate, samples.length]).toEqual([32_000, 1000]);
  });
});

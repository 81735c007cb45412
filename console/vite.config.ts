import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  html: { cspNonce: 'CSP-NONCE' },
  build: {
    outDir: '../api/console',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
    reportCompressedSize: false,
  },
});

import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The built assets are committed, so that `go build` needs no npm. Nothing is inlined,
// for the page runs under a Content-Security-Policy that allows only its own files.
export default defineConfig({
  plugins: [react()],
  base: './',
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npm run dev` shows a collector that runs on this machine.
  server: { proxy: { '/api': 'http://localhost:9090', '/metrics': 'http://localhost:9090' } },
})

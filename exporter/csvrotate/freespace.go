package csvrotate

import "time"

// freeSpace watches min_free_bytes. It asks the file system once a second, and
// when what was written since then could have brought it to the limit.
type freeSpace struct {
	free  int64
	asked time.Time
	// ask returns the free bytes, and whether they can be told; nil is [freeBytes].
	ask func(directory string) (int64, bool)
}

// inBlocks is what a write may take beyond its bytes: file systems give out whole
// blocks, and one more to find them by.
const inBlocks = 8 << 10

// left says whether so many bytes leave min_free_bytes free, and how many are free
// now. Where the file system does not tell, there is room.
func (s *freeSpace) left(cfg *Config, need int64, now time.Time) (int64, bool) {
	if cfg.MinFreeBytes == 0 {
		return 0, true
	}
	need += inBlocks
	if since := now.Sub(s.asked); since < 0 || since >= time.Second || s.free-need < cfg.MinFreeBytes {
		ask := s.ask
		if ask == nil {
			ask = freeBytes
		}
		free, ok := ask(cfg.Directory)
		if !ok {
			return 0, true
		}
		s.free, s.asked = free, now
	}
	return s.free, s.free-need >= cfg.MinFreeBytes
}

func (s *freeSpace) used(bytes int64)     { s.free -= bytes }
func (s *freeSpace) returned(bytes int64) { s.free += bytes }

package ratelimiter

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// clients holds a token bucket for each client, for at most so many of them. Who has
// not been heard of for longest is forgotten first: that one's bucket is the fullest,
// so the least is given away.
type clients struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex
	known   *simplelru.LRU[client, *rate.Limiter]
	evicted int64
}

func newClients(cfg *Config) *clients {
	c := &clients{limit: rate.Limit(float64(cfg.Requests) / cfg.Per.Seconds()), burst: cfg.Burst}
	if c.burst == 0 {
		c.burst = cfg.Requests
	}
	c.known, _ = simplelru.NewLRU[client, *rate.Limiter](cfg.MaxClients, nil) // fails only for a size below 1
	return c
}

// allow reports whether a client may send a request now, and if not, when.
func (c *clients) allow(who client, now time.Time) (retry time.Duration, ok bool) {
	bucket := c.bucket(who)
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	r := bucket.ReserveN(now, 1)
	defer r.CancelAt(now)
	return r.DelayFrom(now), false
}

func (c *clients) bucket(who client) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	bucket, known := c.known.Get(who)
	if !known {
		bucket = rate.NewLimiter(c.limit, c.burst)
		if c.known.Add(who, bucket) {
			c.evicted++
		}
	}
	return bucket
}

func (c *clients) size() (known int, evicted int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.Len(), c.evicted
}

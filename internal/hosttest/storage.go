package hosttest

import (
	"context"
	"maps"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// Storage is a storage extension whose data outlive the components that use it, as those
// on a disk do. The zero value is ready.
type Storage struct {
	component.StartFunc
	component.ShutdownFunc

	mu     sync.Mutex
	data   map[string]map[string][]byte // by client
	err    error
	writes int
	open   int
}

var _ storage.Extension = (*Storage)(nil)

// GetClient implements storage.Extension.
func (s *Storage) GetClient(_ context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = make(map[string]map[string][]byte)
	}
	of := kind.String() + "/" + id.String() + "/" + name
	if s.data[of] == nil {
		s.data[of] = make(map[string][]byte)
	}
	s.open++
	return &storageClient{s, s.data[of]}, nil
}

// Fail makes the storage fail with err, or work again if err is nil.
func (s *Storage) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Data copies what has been written, by key, of all clients.
func (s *Storage) Data() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string][]byte)
	for _, data := range s.data {
		maps.Copy(all, data)
	}
	return all
}

// Put replaces what a client finds under a key, of all clients that have it.
func (s *Storage) Put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, data := range s.data {
		if data[key] != nil {
			data[key] = value
		}
	}
}

// Writes is how many keys have been written or removed.
func (s *Storage) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Open is how many clients have not been closed.
func (s *Storage) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

type storageClient struct {
	of   *Storage
	data map[string][]byte
}

func (c *storageClient) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

func (c *storageClient) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

func (c *storageClient) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

// Batch does all of it or, when the storage fails, nothing.
func (c *storageClient) Batch(_ context.Context, ops ...*storage.Operation) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.of.err != nil {
		return c.of.err
	}
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = c.data[op.Key]
		case storage.Set:
			c.of.writes++
			c.data[op.Key] = op.Value
		case storage.Delete:
			c.of.writes++
			delete(c.data, op.Key)
		}
	}
	return nil
}

func (c *storageClient) Close(context.Context) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.open--
	return nil
}

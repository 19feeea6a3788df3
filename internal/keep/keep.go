// Package keep writes what a component has counted to a storage extension, and reads it
// back after a restart of the collector.
//
// A Store is a growing set of numbered records. All changes of one call of Write are one
// batch: with a transactional storage, such as file_storage, a crash leaves all of them
// or none. What a component shows to others must have been written before: after a crash
// it continues from what was written, and no series that somebody has read falls.
package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// version is the version of the layout; records of another one are not read.
const version = 1

const (
	headKey  = "head"
	readSize = 256 // records that are read in one batch
)

// ErrLayout says that the storage has records that cannot be read, for example from a
// later version.
var ErrLayout = errors.New("stored records cannot be read")

// Store keeps records. It is not safe for concurrent use.
type Store struct {
	client storage.Client
	head   head
	free   []int
}

// head is what the storage knows beside the records.
type head struct {
	Version int
	Records int // every record has a lower number
}

// Open opens the storage of a component. name tells the stores of one component apart.
func Open(ctx context.Context, host component.Host, extension, of component.ID, name string) (*Store, error) {
	found, ok := host.GetExtensions()[extension]
	if !ok {
		return nil, fmt.Errorf("storage: extension %q is not in service::extensions", extension)
	}
	provider, ok := found.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: extension %q is no storage extension; file_storage is one", extension)
	}
	client, err := provider.GetClient(ctx, component.KindProcessor, of, name)
	if err != nil {
		return nil, fmt.Errorf("storage: open %q for %q, which must be in one pipeline only: %w", extension, of, err)
	}
	return &Store{client: client, head: head{Version: version}}, nil
}

// Load calls use with every record. It returns [ErrLayout] if records cannot be read or
// use returns an error, and other errors if the storage fails.
func (s *Store) Load(ctx context.Context, use func(record int, value []byte) error) error {
	raw, err := s.client.Get(ctx, headKey)
	if err != nil {
		return fmt.Errorf("storage: read: %w", err)
	}
	if raw == nil {
		return nil
	}
	stored := head{}
	err = json.Unmarshal(raw, &stored)
	s.head.Records = max(0, stored.Records)
	if err != nil || stored.Version != version {
		return fmt.Errorf("%w: version is %d, want %d", ErrLayout, stored.Version, version)
	}
	for first := 0; first < s.head.Records; first += readSize {
		ops := make([]*storage.Operation, 0, readSize)
		for n := first; n < min(first+readSize, s.head.Records); n++ {
			ops = append(ops, storage.GetOperation(key(n)))
		}
		if err := s.client.Batch(ctx, ops...); err != nil {
			return fmt.Errorf("storage: read: %w", err)
		}
		for i, op := range ops {
			if op.Value == nil {
				s.free = append(s.free, first+i)
				continue
			}
			if err := use(first+i, op.Value); err != nil {
				return fmt.Errorf("%w: record %d: %w", ErrLayout, first+i, err)
			}
		}
	}
	return nil
}

// Clear removes all records, after ErrLayout.
func (s *Store) Clear(ctx context.Context) error {
	ops := []*storage.Operation{storage.DeleteOperation(headKey)}
	for n := range s.head.Records {
		ops = append(ops, storage.DeleteOperation(key(n)))
	}
	s.head, s.free = head{Version: version}, nil
	if err := s.client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("storage: remove records: %w", err)
	}
	return nil
}

// New returns the number of a record that is not in use.
func (s *Store) New() int {
	if n := len(s.free); n > 0 {
		record := s.free[n-1]
		s.free = s.free[:n-1]
		return record
	}
	s.head.Records++
	return s.head.Records - 1
}

// Write writes records, and removes those without a value, in one batch.
func (s *Store) Write(ctx context.Context, changes map[int][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	raw, err := json.Marshal(s.head)
	if err != nil {
		return err
	}
	ops := make([]*storage.Operation, 0, 1+len(changes))
	ops = append(ops, storage.SetOperation(headKey, raw))
	for record, value := range changes {
		if value == nil {
			ops = append(ops, storage.DeleteOperation(key(record)))
			continue
		}
		ops = append(ops, storage.SetOperation(key(record), value))
	}
	if err := s.client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("storage: write %d records: %w", len(changes), err)
	}
	for record, value := range changes {
		if value == nil {
			s.free = append(s.free, record)
		}
	}
	return nil
}

// Close closes the storage.
func (s *Store) Close(ctx context.Context) error { return s.client.Close(ctx) }

func key(record int) string { return "record/" + strconv.Itoa(record) }

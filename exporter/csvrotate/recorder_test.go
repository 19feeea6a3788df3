package csvrotate

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// operation is what a recorder has seen: one change of a file, or a promise of a test.
type operation struct {
	what string   // create, overwrite, open, write, truncate, sync, close, rename, remove, mkdir, syncdir, time, promise
	path string   // of the file, as it was opened; of the directory
	to   string   // rename
	data []byte   // write
	at   int64    // write, truncate
	rows []string // promise: they are safe from here on
}

// String has no number of bytes, so that orders are read easily.
func (o operation) String() string {
	text := o.what + " " + shortName(o.path)
	if o.to != "" {
		text += " " + shortName(o.to)
	}
	return text
}

func shortName(path string) string {
	return strings.TrimPrefix(filepath.Base(path), "async-inspect-20261123-")
}

// recorder is a disk that remembers what is done with it.
type recorder struct {
	disk
	operations []operation
}

func newRecorder() *recorder { return &recorder{disk: systemDisk{}} }

func (r *recorder) note(o operation) { r.operations = append(r.operations, o) }

// orders returns what was done since the last call, without what leaves no trace.
func (r *recorder) orders() (out []string) {
	for _, o := range r.operations {
		if !slices.Contains([]string{"open", "time", "promise"}, o.what) {
			out = append(out, o.String())
		}
	}
	r.operations = nil
	return out
}

func (r *recorder) file(what, path string, f handle, err error) (handle, error) {
	if err != nil {
		return nil, err
	}
	r.note(operation{what: what, path: path})
	return &recordedFile{f, path, r}, nil
}

func (r *recorder) create(path string) (handle, error) {
	f, err := r.disk.create(path)
	return r.file("create", path, f, err)
}

func (r *recorder) overwrite(path string) (handle, error) {
	f, err := r.disk.overwrite(path)
	return r.file("overwrite", path, f, err)
}

func (r *recorder) open(path string) (handle, error) {
	f, err := r.disk.open(path)
	return r.file("open", path, f, err)
}

// done notes what has been done without an error.
func (r *recorder) done(err error, o operation) error {
	if err == nil {
		r.note(o)
	}
	return err
}

func (r *recorder) rename(from, to string) error {
	return r.done(r.disk.rename(from, to), operation{what: "rename", path: from, to: to})
}

func (r *recorder) remove(path string) error {
	return r.done(r.disk.remove(path), operation{what: "remove", path: path})
}

func (r *recorder) setTime(path string, to time.Time) error {
	return r.done(r.disk.setTime(path, to), operation{what: "time", path: path})
}

func (r *recorder) makeDirectory(path string) error {
	return r.done(r.disk.makeDirectory(path), operation{what: "mkdir", path: path})
}

func (r *recorder) syncDirectory(path string) error {
	return r.done(r.disk.syncDirectory(path), operation{what: "syncdir", path: path})
}

type recordedFile struct {
	handle
	path string
	r    *recorder
}

func (f *recordedFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.handle.WriteAt(p, at)
	return n, f.r.done(err, operation{what: "write", path: f.path, data: slices.Clone(p), at: at})
}

func (f *recordedFile) Truncate(n int64) error {
	return f.r.done(f.handle.Truncate(n), operation{what: "truncate", path: f.path, at: n})
}

func (f *recordedFile) Sync() error {
	return f.r.done(f.handle.Sync(), operation{what: "sync", path: f.path})
}

func (f *recordedFile) Close() error {
	return f.r.done(f.handle.Close(), operation{what: "close", path: f.path})
}

// promise notes that rows are safe.
func (r *recorder) promise(ids ...int) {
	var rows []string
	for _, id := range ids {
		rows = append(rows, fmt.Sprint(id))
	}
	r.note(operation{what: "promise", rows: rows})
}

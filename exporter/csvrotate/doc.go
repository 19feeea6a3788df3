//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package csvrotate is the csv_rotate exporter: CSV files that rotate, are cleaned
// up, and never lie to a reader.
//
// In: traces. Out: files in one directory, a row for each task, span or deadlock
// ([rowKind]), in the columns of a [plan]. The file that is being written ends in
// .csv.partial; a name that ends in .csv, .csv.gz or .csv.zst is a whole file.
//
// A batch is encoded into a reused buffer, without a lock and without an
// allocation per row ([encoder]), and then written with one write, whole or not at
// all ([writer]). No rows are kept in memory: what has been acknowledged is with
// the operating system, and with fsync: always on the disk.
//
// It keeps one open file, one that is being finished, a lock file, and 48 bytes for
// each finished file ([index]), whose number retention bounds.
//
// On failure: what was written of a batch is cut off again, the batch goes back to
// the queue as a retryable error, and the component's status says so until a write
// succeeds. After a crash the open file is cut to its last whole record; what
// cannot be read is set aside as .corrupt and never deleted.
package csvrotate

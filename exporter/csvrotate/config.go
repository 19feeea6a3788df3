package csvrotate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/asyncinspect/asyncinspect/internal/durations"
)

// Config is the configuration of the csv_rotate exporter.
type Config struct {
	// TimeoutConfig bounds one attempt to write a batch: the wait for those before it.
	TimeoutConfig exporterhelper.TimeoutConfig `mapstructure:",squash"`
	// QueueConfig is the queue in front of the file; its storage makes it survive a crash.
	QueueConfig configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
	// RetryConfig is how a batch is tried again that could not be written.
	RetryConfig configretry.BackOffConfig `mapstructure:"retry_on_failure"`

	// Directory is where the files are. It is created if its parent can be written.
	Directory string `mapstructure:"directory"`
	// Prefix begins the name of every file.
	Prefix string `mapstructure:"prefix"`
	// Rows says what a row is: tasks, spans or deadlocks.
	Rows string `mapstructure:"rows"`
	// Columns in their order. Empty: the default columns of Rows.
	Columns []string `mapstructure:"columns"`
	// Rotation says when a file is finished and the next one begins.
	Rotation Rotation `mapstructure:"rotation"`
	// Retention says when a finished file is deleted.
	Retention Retention `mapstructure:"retention"`
	// Compression of finished files: none, gzip or zstd.
	Compression string `mapstructure:"compression"`
	// BOM puts a byte-order mark before the header, for spreadsheets that need one.
	BOM bool `mapstructure:"bom"`
	// DefuseFormulas puts an apostrophe before text that a spreadsheet would run.
	DefuseFormulas bool `mapstructure:"defuse_formulas"`
	// FlushInterval is how often the file is synced with Fsync interval.
	FlushInterval time.Duration `mapstructure:"flush_interval"`
	// Fsync says when what was written is forced onto the disk: never (only when
	// the file is finished), interval, or always (before a batch is acknowledged).
	Fsync string `mapstructure:"fsync"`
	// MinFreeBytes is left free on the file system; 0 is no limit.
	MinFreeBytes int64 `mapstructure:"min_free_bytes"`
}

// Rotation says when a file is finished: whichever limit comes first. A batch is
// never split, so one batch may exceed the limits of bytes and rows. 0 is no limit.
type Rotation struct {
	MaxBytes int64         `mapstructure:"max_bytes"`
	MaxRows  int64         `mapstructure:"max_rows"`
	Interval time.Duration `mapstructure:"interval"`
	// Aligned ends files at multiples of Interval on the UTC clock.
	Aligned bool `mapstructure:"aligned"`
}

// Retention says which finished files are deleted, oldest first. 0 is no limit.
type Retention struct {
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxFiles int           `mapstructure:"max_files"`
	// MaxTotalBytes bounds the finished files and the open one together.
	MaxTotalBytes int64 `mapstructure:"max_total_bytes"`
}

// The values of Compression and Fsync.
const (
	compressNone = "none"
	compressGzip = "gzip"
	compressZstd = "zstd"

	fsyncNever    = "never"
	fsyncInterval = "interval"
	fsyncAlways   = "always"
)

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	retry := configretry.NewDefaultBackOffConfig()
	retry.InitialInterval = time.Second
	retry.MaxElapsedTime = 0 // a full disk loses nothing, however long it stays full
	return &Config{
		TimeoutConfig:  exporterhelper.NewDefaultTimeoutConfig(),
		QueueConfig:    configoptional.Some(exporterhelper.NewDefaultQueueConfig()),
		RetryConfig:    retry,
		Prefix:         "async-inspect",
		Rows:           rowsTasks,
		Rotation:       Rotation{MaxBytes: 100 << 20, Interval: time.Hour},
		Retention:      Retention{MaxAge: 7 * 24 * time.Hour, MaxFiles: 10_000},
		Compression:    compressNone,
		DefuseFormulas: true,
		FlushInterval:  time.Second,
		Fsync:          fsyncInterval,
		MinFreeBytes:   100 << 20,
	}
}

// A prefix is part of a file name and of the pattern by which files are known.
var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	errs := durations.Check(c, createDefaultConfig())
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if strings.TrimSpace(c.Directory) == "" {
		bad("directory: must be set, it is where the files are written")
	}
	if !prefixPattern.MatchString(c.Prefix) {
		bad("prefix: %q must be 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter, a digit or '_'", c.Prefix)
	}
	oneOf := func(field, value string, values ...string) {
		if !slices.Contains(values, value) {
			bad("%s: %q is not one of %s", field, value, strings.Join(values, ", "))
		}
	}
	oneOf("rows", c.Rows, rowsTasks, rowsSpans, rowsDeadlocks)
	oneOf("compression", c.Compression, compressNone, compressGzip, compressZstd)
	oneOf("fsync", c.Fsync, fsyncNever, fsyncInterval, fsyncAlways)
	if _, err := newPlan(c); err != nil {
		errs = append(errs, err)
	}

	for _, limit := range []struct {
		field string
		value int64
	}{
		{"rotation::max_bytes", c.Rotation.MaxBytes},
		{"rotation::max_rows", c.Rotation.MaxRows},
		{"retention::max_files", int64(c.Retention.MaxFiles)},
		{"retention::max_total_bytes", c.Retention.MaxTotalBytes},
		{"min_free_bytes", c.MinFreeBytes},
	} {
		if limit.value < 0 {
			bad("%s: must not be negative, is %d", limit.field, limit.value)
		}
	}
	for _, duration := range []struct {
		field string
		value time.Duration
	}{{"rotation::interval", c.Rotation.Interval}, {"retention::max_age", c.Retention.MaxAge}} {
		if duration.value != 0 && duration.value < time.Second {
			bad("%s: must be 0 (off) or at least 1s, is %v", duration.field, duration.value)
		}
	}
	if r := c.Rotation; r.MaxBytes == 0 && r.MaxRows == 0 && r.Interval == 0 {
		bad("rotation: max_bytes, max_rows and interval are all 0, so no file would ever be finished")
	}
	if c.Rotation.Aligned && c.Rotation.Interval == 0 {
		bad("rotation::aligned: needs rotation::interval")
	}
	if r := c.Retention; r.MaxAge == 0 && r.MaxFiles == 0 && r.MaxTotalBytes == 0 {
		bad("retention: max_age, max_files and max_total_bytes are all 0, so the disk would fill up")
	}
	if total := c.Retention.MaxTotalBytes; total > 0 && (c.Rotation.MaxBytes == 0 || total < c.Rotation.MaxBytes) {
		bad("retention::max_total_bytes: is %d; must be at least rotation::max_bytes, which is %d and must not be 0", total, c.Rotation.MaxBytes)
	}
	if c.FlushInterval < 10*time.Millisecond {
		bad("flush_interval: must be at least 10ms, is %v", c.FlushInterval)
	}
	return errors.Join(errs...)
}

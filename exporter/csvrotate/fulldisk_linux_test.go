package csvrotate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of that many bytes. Without root the tests with
// brokenDisk say the same of a disk that is made up.
func smallDisk(t *testing.T, bytes int) string {
	directory := t.TempDir()
	if err := unix.Mount("tmpfs", directory, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("this test mounts a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(directory, unix.MNT_DETACH)) })
	return directory
}

func TestADiskThatIsReallyFull(t *testing.T) {
	disk := smallDisk(t, 128<<10)
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(disk, "csv")
	cfg.Columns, cfg.Fsync = []string{"name"}, fsyncAlways
	cfg.Rotation.MaxRows = 2000
	direct(cfg)
	ballast := filepath.Join(disk, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 32<<10), 0o600))
	h := newHost()
	e := started(t, cfg, h)

	var acknowledged []string
	write := func(batch int) error {
		ids := make([]string, 500)
		for i := range ids {
			ids[i] = fmt.Sprintf("task %d of batch %d", i, batch)
		}
		err := e.ConsumeTraces(context.Background(), tasks(ids...))
		if err == nil {
			acknowledged = append(acknowledged, ids...)
		}
		return err
	}
	var err error
	batch := 0
	for ; err == nil && batch < 100; batch++ {
		err = write(batch)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, h.statuses())
	require.Eventually(t, func() bool { // files that have ended are finished on the side
		open, err := filepath.Glob(filepath.Join(cfg.Directory, "*"+suffixPartial))
		return err == nil && len(open) <= 1
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, acknowledged, taskNames(t, cfg.Directory), "every file is whole on a full disk")

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, write(batch), "it goes on by itself when there is room")
	require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, h.statuses())
	require.NoError(t, e.Shutdown(context.Background()))
	require.Equal(t, acknowledged, taskNames(t, cfg.Directory))
}

func TestMinFreeBytesIsLeftFree(t *testing.T) {
	disk := smallDisk(t, 256<<10)
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(disk, "csv")
	cfg.MinFreeBytes = 100 << 10
	direct(cfg)
	e := started(t, cfg, newHost())
	var err error
	for range 10_000 {
		if err = e.ConsumeTraces(context.Background(), tasks("a", "b", "c")); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "min_free_bytes is 102400")
	free, ok := freeBytes(disk)
	require.True(t, ok)
	require.GreaterOrEqual(t, free, cfg.MinFreeBytes)
	require.Less(t, free, cfg.MinFreeBytes+32<<10, "and not much more")
	require.NoError(t, e.Shutdown(context.Background()))
}

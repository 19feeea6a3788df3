package keep_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/keep"
)

var (
	storageID = component.MustNewID("file_storage")
	owner     = component.MustNewIDWithName("task_state", "7")
)

func hostWith(c component.Component) component.Host {
	return &hosttest.Host{Extensions: map[component.ID]component.Component{storageID: c}}
}

func opened(tb testing.TB, host component.Host) *keep.Store {
	tb.Helper()
	s, err := keep.Open(context.Background(), host, storageID, owner, "totals")
	require.NoError(tb, err)
	return s
}

func loaded(tb testing.TB, s *keep.Store) map[int]string {
	tb.Helper()
	records := make(map[int]string)
	require.NoError(tb, s.Load(context.Background(), func(record int, value []byte) error {
		records[record] = string(value)
		return nil
	}))
	return records
}

// What was written is read by the next store, with the storage extension that users have
// and with one in memory. Numbers of removed records are used again.
func TestRecordsOutliveTheStore(t *testing.T) {
	f := filestorage.NewFactory()
	config := f.CreateDefaultConfig().(*filestorage.Config)
	config.Directory = t.TempDir()
	files, err := f.Create(context.Background(), extensiontest.NewNopSettings(f.Type()), config)
	require.NoError(t, err)
	require.NoError(t, files.Start(context.Background(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, files.Shutdown(context.Background())) })
	for name, extension := range map[string]component.Component{"files": files, "memory": new(hosttest.Storage)} {
		t.Run(name, func(t *testing.T) {
			const many = 600 // more than are read at a time
			ctx, host := context.Background(), hostWith(extension)
			s := opened(t, host)
			require.Empty(t, loaded(t, s))
			changes, want := make(map[int][]byte), make(map[int]string)
			for i := range many {
				n := s.New()
				require.Equal(t, i, n)
				changes[n] = fmt.Append(nil, "first ", n)
				want[n] = fmt.Sprint("first ", n)
			}
			require.NoError(t, s.Write(ctx, changes))
			require.NoError(t, s.Write(ctx, map[int][]byte{7: []byte("second 7"), 300: nil, 599: nil}))
			require.NoError(t, s.Close(ctx))
			want[7] = "second 7"
			delete(want, 300)
			delete(want, 599)

			s = opened(t, host)
			require.Equal(t, want, loaded(t, s))
			require.ElementsMatch(t, []int{300, 599}, []int{s.New(), s.New()})
			require.Equal(t, many, s.New())
			require.NoError(t, s.Write(ctx, map[int][]byte{many: []byte("last")}))
			require.NoError(t, s.Close(ctx))

			s = opened(t, host)
			want[many] = "last"
			require.Equal(t, want, loaded(t, s))
			require.NoError(t, s.Clear(ctx))
			require.Empty(t, loaded(t, s))
			require.Equal(t, 0, s.New())
			require.NoError(t, s.Close(ctx))
		})
	}
}

// A number that a failed write should have freed stays in use.
func TestAFailedWriteChangesNothing(t *testing.T) {
	ctx, memory := context.Background(), new(hosttest.Storage)
	s := opened(t, hostWith(memory))
	require.NoError(t, s.Write(ctx, map[int][]byte{s.New(): []byte("a"), s.New(): []byte("b")}))
	full := errors.New("disk full")
	memory.Fail(full)
	require.ErrorIs(t, s.Write(ctx, map[int][]byte{0: []byte("c"), 1: nil}), full)
	require.ErrorIs(t, s.Load(ctx, nil), full)
	require.Equal(t, 2, s.New())
	memory.Fail(nil)
	require.NoError(t, s.Write(ctx, nil))
	require.Equal(t, map[int]string{0: "a", 1: "b"}, loaded(t, opened(t, hostWith(memory))))
	require.NoError(t, s.Write(ctx, map[int][]byte{0: []byte("c"), 1: nil}))
	require.Equal(t, 1, s.New())
}

func TestWhatCannotBeRead(t *testing.T) {
	ctx := context.Background()
	for name, head := range map[string]string{"a later version": `{"Version":2,"Records":2}`, "no JSON": `{`} {
		t.Run(name, func(t *testing.T) {
			memory := new(hosttest.Storage)
			s := opened(t, hostWith(memory))
			require.NoError(t, s.Write(ctx, map[int][]byte{s.New(): []byte("a"), s.New(): []byte("b")}))
			memory.Put("head", []byte(head))
			s = opened(t, hostWith(memory))
			require.ErrorIs(t, s.Load(ctx, nil), keep.ErrLayout)
			require.NoError(t, s.Clear(ctx))
			require.Empty(t, loaded(t, s))
		})
	}
	memory := new(hosttest.Storage)
	s := opened(t, hostWith(memory))
	require.NoError(t, s.Write(ctx, map[int][]byte{s.New(): []byte("a")}))
	bad := errors.New("bad record")
	err := s.Load(ctx, func(int, []byte) error { return bad })
	require.ErrorIs(t, err, keep.ErrLayout)
	require.ErrorIs(t, err, bad)
	require.NoError(t, s.Clear(ctx))
	require.Empty(t, memory.Data())
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for want, extension := range map[string]component.Component{
		`extension "file_storage" is not in service::extensions`: nil,
		`extension "file_storage" is no storage extension`:       struct{ component.Component }{},
	} {
		host := hostWith(extension)
		if extension == nil {
			host = componenttest.NewNopHost()
		}
		_, err := keep.Open(context.Background(), host, storageID, owner, "totals")
		require.ErrorContains(t, err, want)
	}
}

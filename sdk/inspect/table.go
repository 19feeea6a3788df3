package inspect

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// The table knows what every goroutine of the process is doing: the open tasks,
// the innermost task of each goroutine, and the open waits. It is sharded by
// goroutine id, so that goroutines do not meet each other in it. There is one
// table for the process and not one for each Inspector, because locks are
// shared by everybody.
//
// Both lists of a shard are in the order of their beginning: who looks for old
// tasks or old waits stops at the first young one.
const shards = 64

var table [shards]shard

type shard struct {
	shardState
	_ [(128 - unsafe.Sizeof(shardState{})%128) % 128]byte // no false sharing
}

type shardState struct {
	mu      sync.Mutex // guards all below; held for no call out of the package
	current currentTasks
	tasks   list[Task]
	waits   list[openWait]
	waitSeq uint64
	left    [recentlyLeft]leftTask // of goroutines that ended with their tasks, see departed
	leaving int                    // where in left the next one goes
	ending  atomic.Pointer[Task]   // whose span a goroutine of the shard is ending, see taskSpans
}

func shardOf(goroutine uint64) *shard { return &table[goroutine%shards] }

// currentTask returns the innermost task of the running goroutine, or nil.
func currentTask() *Task {
	g := goid.Get()
	if g == 0 {
		return nil
	}
	s := shardOf(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.of(g)
}

// Where goroutines cannot be told apart, each task stands for one: the number it
// gets takes the place of the goroutine's id, and only who passes a context is
// known.
var lastPseudoGoroutine atomic.Uint64

func pseudoGoroutine() uint64 { return lastPseudoGoroutine.Add(1) & goid.Mask }

// pseudo returns the number of the task, or a new one for nobody.
func (t *Task) pseudo() uint64 {
	if t == nil {
		return pseudoGoroutine()
	}
	return t.goroutine.Load()
}

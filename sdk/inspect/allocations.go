package inspect

import (
	"runtime/metrics"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// allocated is what the process has allocated on the heap since its start.
//
// The runtime does not count by goroutine, so the difference over a task is what
// the whole process allocated meanwhile: an upper bound for the task, and its own
// only if nothing else ran. Small objects are counted when their block is full.
type allocated struct{ bytes, objects uint64 }

func readAllocated() allocated {
	samples := [2]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/allocs:objects"}}
	metrics.Read(samples[:])
	return allocated{bytes: number(samples[0]), objects: number(samples[1])}
}

func number(s metrics.Sample) uint64 {
	if s.Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s.Value.Uint64()
}

// untilNow is what has been allocated since a.
func (a allocated) untilNow() allocated {
	n := readAllocated()
	return allocated{bytes: n.bytes - a.bytes, objects: n.objects - a.objects}
}

func (a allocated) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int64(taskspan.TaskAllocatedBytes, int64(a.bytes)),
		attribute.Int64(taskspan.TaskAllocatedObjects, int64(a.objects)),
	}
}

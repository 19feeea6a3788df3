package inspect

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/internal/turn"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

const (
	// scanInterval is how often the reporter looks for what is stuck. A wait is
	// reported at most this much after it got stuck.
	scanInterval = 250 * time.Millisecond
	// maxTold bounds the waits, and separately the long tasks, that are reported.
	maxTold = 10_000
	// queueLimit bounds the reports that wait for the collector, about 2 MB.
	queueLimit = 2048
	// reserved is the part of the queue that is left for reports that cannot wait: that
	// something has ended. Others come with a later scan.
	reserved      = queueLimit / 4
	exportTimeout = 5 * time.Second
)

type reporterConfig struct {
	stuckAfter        time.Duration
	longTask          time.Duration
	heartbeatInterval time.Duration
	reports           bool
}

// reporter tells the collector what is stuck: one goroutine that looks at the table
// every scanInterval. What it costs is proportional to what is stuck.
type reporter struct {
	ins    *Inspector
	config reporterConfig
	client otlptrace.Client
	sender *sender.Sender
	seed   [16]byte // of derived ids; also the trace of all heartbeats
	res    *resourcepb.Resource
	schema string

	// Used by the goroutine, or by who has stopped it.
	waits   map[uint64]*toldWait
	tasks   map[*Task]*toldTask
	views   []waitView // memory that is used again
	resting []*toldWait
	read    []reading
	room    int // for reports of this scan
	beatAt  nanos
	lastFor nanos         // the instant of the last scan
	lookAt  nanos         // when goroutines may be looked at again
	refused []lookRefusal // that have been logged
	step    int64         // of the wall clock, that all times follow

	ordersSent  int // of lockOrders
	callsSent   uint64
	ordersAgain nanos // when to send them again

	lastScan atomic.Int64 // nanos: when it ended
	stop     chan struct{}
	stopping sync.Once
	flushes  *turn.Bell
	done     chan struct{}
}

func newReporter(ins *Inspector, client otlptrace.Client, res *resource.Resource, config reporterConfig) *reporter {
	r := &reporter{
		ins: ins, config: config, client: client,
		waits: make(map[uint64]*toldWait), tasks: make(map[*Task]*toldTask),
		stop: make(chan struct{}), done: make(chan struct{}), step: followWallClock(), ordersAgain: now(),
	}
	r.flushes = turn.NewBell(r.done)
	putRandom(r.seed[:8])
	putRandom(r.seed[8:])
	r.res, r.schema = protoResource(res), res.SchemaURL()
	return r
}

// start starts the client and the goroutine, and sends the first heartbeat.
func (r *reporter) start(ctx context.Context) error {
	r.lastScan.Store(int64(now()))
	if !r.config.reports {
		close(r.done)
		return nil
	}
	if err := r.client.Start(ctx); err != nil {
		close(r.done)
		return err
	}
	r.sender = sender.Start(sender.Config{
		Client: r.client, Resource: r.res, Schema: r.schema,
		Limit: queueLimit, Timeout: exportTimeout,
		Dropped: func() { r.ins.drops.add(dropReportQueue, 1) },
		Failed:  r.exportFailed,
	})
	go r.run()
	return nil
}

// exportFailed says the first time that reports do not arrive. They are kept, and
// the collector may be on its way.
func (r *reporter) exportFailed(err error) {
	if err != nil {
		r.ins.config.logger.Warn("async-inspect: reports cannot be sent; retrying", "error", err)
	}
}

func (r *reporter) run() {
	defer close(r.done)
	ticker := time.NewTicker(scanInterval)
	defer ticker.Stop()
	r.beatAt = now()
	r.round(r.beatAt)
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
			r.round(now())
		case <-r.flushes.Rung():
			flush := r.flushes.Take()
			r.beatAt = now()
			r.round(r.beatAt)
			flush.End(nil)
		}
	}
}

// flush reports what is true now, with a heartbeat, and waits until it has been sent.
func (r *reporter) flush(ctx context.Context) error {
	if r.sender == nil {
		return nil
	}
	if err := r.flushes.Ask(ctx); err != nil {
		return err
	}
	return r.sender.Flush(ctx)
}

// round is one look at everything.
func (r *reporter) round(at nanos) {
	stop := threadCPU()
	r.followClock()
	externals.expire(at)
	r.scan(at)
	r.tellOrders(at)
	if at >= r.beatAt {
		r.beatAt = at + nanos(r.config.heartbeatInterval)
		r.ins.lookAtOverhead()
		r.ins.checkMemory()
		r.sender.Heartbeat(r.heartbeat(false).Encode())
	}
	r.ins.spent(stop())
	r.lastScan.Store(int64(now()))
}

// shutdown says goodbye.
func (r *reporter) shutdown(ctx context.Context) error {
	r.stopping.Do(func() { close(r.stop) })
	<-r.done
	if r.sender == nil {
		return nil
	}
	r.followClock()
	r.beatAt = now()
	r.scan(r.beatAt)
	r.tellOrders(now())
	r.sender.Heartbeat(r.heartbeat(true).Encode())
	err := r.sender.Close(ctx)
	if stopErr := r.client.Stop(ctx); err == nil {
		err = stopErr
	}
	return err
}

// late is how long ago the reporter last finished a round. The time of a suspend does
// not count: nobody makes progress then.
func (r *reporter) late() time.Duration { return now().sub(nanos(r.lastScan.Load())) }

func protoResource(res *resource.Resource) *resourcepb.Resource {
	p := new(resourcepb.Resource)
	for it := res.Iter(); it.Next(); {
		kv := it.Attribute()
		p.Attributes = append(p.Attributes, &commonpb.KeyValue{Key: wire.Valid(string(kv.Key)), Value: protoValue(kv.Value)})
	}
	return p
}

func protoValue(v attribute.Value) *commonpb.AnyValue {
	validValue(&v)
	switch v.Type() {
	case attribute.BOOL:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v.AsBool()}}
	case attribute.INT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v.AsInt64()}}
	case attribute.FLOAT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v.AsFloat64()}}
	case attribute.STRINGSLICE:
		list := new(commonpb.ArrayValue)
		for _, s := range v.AsStringSlice() {
			list.Values = append(list.Values, &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}})
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}
	default:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: wire.Valid(v.String())}}
	}
}

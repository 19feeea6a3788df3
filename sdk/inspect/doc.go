// Package inspect shows what the goroutines of a service are doing while they do it:
// which tasks run, which are blocked, on what, for how long, who holds it, and where
// in the code. It tells a collector by ordinary OpenTelemetry spans.
//
//	ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"))
//	if err != nil {
//		return err
//	}
//	defer ins.Shutdown(context.Background())
//
//	ctx, task := inspect.Begin(ctx, "checkout")
//	defer task.EndWith(&err)
//
// A task is a unit of concurrent work, and a span. [Begin] begins one on the running
// goroutine, [Go] on a goroutine of its own, [Group] and [WaitGroup] several. Waits are
// recorded where they happen: [Mutex], [RWMutex], [Semaphore], [Once], [Cond], [Chan],
// [Select], [Flight] and [Sleep] replace the primitives they are named after. [Receive]
// and [SendTo] wait on a plain channel, [Wait] and [External] are for everything else.
// An open client span of an instrumentation library is a wait while its goroutine
// waits, and an open server or consumer span is a task. Package inspecthttp instruments
// clients and servers of net/http.
//
// A wait that lasts longer than a second is reported with its holders, at every
// sampling rate; heartbeats carry exact counts and durations of tasks. The cost is
// proportional to what is stuck. An uncontended lock costs a few nanoseconds more than
// one of package sync: it reads no clock, allocates nothing and takes no lock of ours.
// A slow, dead or absent collector costs bounded memory, and never time.
//
// # Configuration
//
// Without any, Start sends to localhost:4317. Where several places set one thing, the
// first of these counts:
//
//  1. options of [Start]
//  2. ASYNC_INSPECT_* environment variables
//  3. OTEL_* environment variables
//  4. the defaults of the [Mode]
//
// The operator decides what the code leaves open, and a mode is only a set of defaults.
// Turning the SDK off is an exception: if either of its variables says off, the SDK is
// off, whatever the code says. Start then returns an Inspector that inspects nothing,
// as it does with the build tag noinspect. Invalid values of other settings are then
// logged and are not errors. Everything but inspection stays the same: see [Start] and
// [NewResource].
//
//	ASYNC_INSPECT_ENABLED          false turns the SDK off
//	ASYNC_INSPECT_MODE             development (the default), analysis or production
//	ASYNC_INSPECT_SAMPLING         share of traces to record, 0 to 1
//	ASYNC_INSPECT_MAX_TASKS        live tasks that are listed, 10000
//	ASYNC_INSPECT_MAX_EVENTS       inspection points that are kept, 100000
//	ASYNC_INSPECT_MAX_TASK_EVENTS  those of one task, 128
//	ASYNC_INSPECT_LOOK_LIMIT       goroutines of the process up to which they are examined, 5000
//	ASYNC_INSPECT_LOCK_ORDER       true or false: whether orders of locks are reported
//	ASYNC_INSPECT_ERROR_TEXTS      false: spans carry no texts of errors and panics, only their types
//	ASYNC_INSPECT_OTLP_ENDPOINT    host:port or URL; before OTEL_EXPORTER_OTLP_ENDPOINT
//
//	OTEL_SDK_DISABLED                          true turns the SDK off
//	OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
//	OTEL_EXPORTER_OTLP_*, _TRACES_*            ENDPOINT, PROTOCOL (grpc, http/protobuf), HEADERS, INSECURE,
//	                                           CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY, COMPRESSION, TIMEOUT
//	OTEL_TRACES_EXPORTER                       otlp, or none: nothing is sent
//	OTEL_TRACES_SAMPLER, _ARG                  always_on, always_off, traceidratio, parentbased_*;
//	                                           only traceidratio takes an argument
//	OTEL_BSP_*, OTEL_SPAN_*_LIMIT,             as in the OpenTelemetry SDK
//	OTEL_ATTRIBUTE_*_LIMIT, OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT, OTEL_LINK_ATTRIBUTE_COUNT_LIMIT
//
// Start returns an error for an invalid value; the error names the variable and the
// allowed values. OpenTelemetry would log a warning and continue, but it is better to
// find a service without telemetry at its start than in its next incident. An unknown
// ASYNC_INSPECT_* variable causes a warning in the log with the nearest name.
//
//	                 sampling  stacks of waits  allocations
//	Development      1         yes              yes
//	Analysis         0.1       yes              no
//	Production       0.01      no               no
//
// # Sampling
//
// Sampling decides about the spans of tasks and waits, and about nothing else. A rate
// is consistent probability sampling: services with one rate keep the same traces,
// and the rate travels in the tracestate (ot=th), so that counts can be made whole
// again. [WithAdaptiveSampler] steers the rate by what the SDK costs, [WithSampler]
// decides by the name of the task, [WithOTelSampler] takes any sampler of
// OpenTelemetry. Spans follow their parents.
//
// # Allocations
//
// The Go runtime counts allocations of the process and not of goroutines. With
// [WithTrackAllocations] a sampled task carries what the whole process allocated while
// it ran: its own if nothing else ran, an upper bound otherwise, and never a part of
// what others are responsible for. Small objects count when their block is full, so
// the numbers of short tasks are coarse. To attribute allocations exactly take a heap
// profile.
package inspect

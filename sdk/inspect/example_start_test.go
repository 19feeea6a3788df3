//go:build !noinspect

package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func ExampleStart() {
	ctx := context.Background()
	ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"), inspect.WithMode(inspect.Production))
	if err != nil {
		log.Fatal(err)
	}
	defer ins.Shutdown(context.Background())

	fmt.Println("sampling rate:", ins.SamplingRate())
	// Output: sampling rate: 0.01
}

// A program that ends by os.Exit runs no deferred functions.
func ExampleForceFlush() {
	ctx := context.Background()
	ins, err := inspect.Start(ctx, inspect.WithSpanExporter(printing{}), inspect.WithReports(false))
	if err != nil {
		log.Fatal(err)
	}
	defer ins.Shutdown(context.Background())

	_, task := inspect.Begin(ctx, "command")
	task.End(nil)
	if err := inspect.ForceFlush(ctx); err != nil {
		log.Print(err)
	}
	fmt.Println("now os.Exit")
	// Output:
	// command: completed
	// now os.Exit
}

func ExampleBegin() {
	ctx := context.Background()
	// Instead of to a collector, the spans go to something that prints them.
	ins, err := inspect.Start(ctx, inspect.WithSpanExporter(printing{}), inspect.WithReports(false))
	if err != nil {
		log.Fatal(err)
	}

	checkout := func(ctx context.Context) (err error) {
		ctx, task := inspect.Begin(ctx, "checkout")
		defer task.EndWith(&err)
		return pay(ctx)
	}
	fmt.Println("error:", checkout(ctx))
	ins.Shutdown(ctx)
	// Output:
	// error: no money
	// pay: failed
	// checkout: failed
}

func pay(ctx context.Context) (err error) {
	_, task := inspect.Begin(ctx, "pay")
	defer task.EndWith(&err)
	return errors.New("no money")
}

// printing prints the states of the tasks that it exports.
type printing struct{}

func (printing) Shutdown(context.Context) error { return nil }

func (printing) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		for _, a := range s.Attributes() {
			if a.Key == "async_inspect.task.state" {
				fmt.Printf("%s: %s\n", s.Name(), a.Value.AsString())
			}
		}
	}
	return nil
}

// A provider that is there already makes the spans; what is stuck is reported beside
// it.
func ExampleWithTracerProvider() {
	ctx := context.Background()
	res, err := inspect.NewResource(ctx, inspect.WithServiceName("shop"))
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSyncer(printing{}),
		sdktrace.WithSampler(inspect.WrapSampler(sdktrace.ParentBased(sdktrace.AlwaysSample()))),
		sdktrace.WithSpanProcessor(inspect.NewSpanProcessor()),
	)
	ins, err := inspect.Start(ctx, inspect.WithResource(res), inspect.WithTracerProvider(provider))
	if err != nil {
		log.Fatal(err)
	}
	defer ins.Shutdown(ctx)

	_, task := inspect.Begin(ctx, "checkout")
	task.End(nil)
	// Output: checkout: completed
}

// apiOnly keeps the traces of API calls.
type apiOnly struct{}

func (apiOnly) ShouldSample(task string) bool { return strings.HasPrefix(task, "api::") }

func ExampleWithSampler() {
	ctx := context.Background()
	ins, err := inspect.Start(ctx, inspect.WithSampler(apiOnly{}), inspect.WithSpanExporter(printing{}), inspect.WithReports(false))
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"api::orders", "nightly report"} {
		_, task := inspect.Begin(ctx, name)
		task.End(nil)
	}
	ins.Shutdown(ctx)
	// Output: api::orders: completed
}

// A custom sampler as a part of others: here it decides about new traces, and a sampled
// caller is followed.
func ExampleOTelSampler() {
	s := sdktrace.ParentBased(inspect.OTelSampler(apiOnly{}), sdktrace.WithRemoteParentSampled(sdktrace.AlwaysSample()))
	r := s.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), Name: "api::orders"})
	fmt.Println(r.Decision == sdktrace.RecordAndSample)
	// Output: true
}

func ExampleWithAdaptiveSampler() {
	ctx := context.Background()
	ins, err := inspect.Start(ctx, inspect.WithAdaptiveSampler(inspect.AdaptiveConfig{
		MinRate: 0.001, MaxRate: 0.1, TargetOverhead: 0.02,
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer ins.Shutdown(context.Background())

	fmt.Println("sampling rate:", ins.SamplingRate()) // it starts at the top
	// Output: sampling rate: 0.1
}

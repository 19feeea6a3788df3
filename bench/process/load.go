package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/asyncinspect/asyncinspect/bench/gateway"
)

// process is a collector that is measured.
type process struct{ *exec.Cmd }

func start(arguments ...string) (*process, error) {
	p := &process{exec.Command(*collector, arguments...)}
	p.Stderr = os.Stderr
	if *memlimit != "" {
		p.Env = append(os.Environ(), "GOMEMLIMIT="+*memlimit)
	}
	return p, p.Start()
}

func (p *process) stop() {
	_ = p.Process.Signal(os.Interrupt)
	_ = p.Wait()
}

// loaded is what a load has cost the process that it was sent to.
type loaded struct {
	spans        int64
	rate         float64 // spans a second
	cpu, slowest time.Duration
}

// load sends the load, and returns when what is pending is decided.
func (p *process) load() (l loaded, err error) {
	conn, err := grpc.NewClient(*endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return l, err
	}
	defer conn.Close()
	client := ptraceotlp.NewGRPCClient(conn)
	if err := ready(client); err != nil {
		return l, err
	}
	before, err := cpu(p.Process.Pid)
	if err != nil {
		return l, err
	}
	began := time.Now()
	if l.spans, l.slowest, err = send(client); err != nil {
		return l, err
	}
	l.rate = float64(l.spans) / time.Since(began).Seconds()
	time.Sleep(7 * time.Second)
	after, err := cpu(p.Process.Pid)
	l.cpu = after - before
	return l, err
}

// ready waits until the collector answers.
func ready(client ptraceotlp.GRPCClient) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := client.Export(ctx, ptraceotlp.NewExportRequest())
		cancel()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// send sends the load from four goroutines.
func send(client ptraceotlp.GRPCClient) (spans int64, slowest time.Duration, err error) {
	const senders = 4
	var sent, longest atomic.Int64
	failed := make(chan error, senders)
	end := time.Now().Add(time.Duration(*seconds) * time.Second)
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			next := time.Now()
			for time.Now().Before(end) {
				if *rate > 0 {
					next = next.Add(time.Second * time.Duration(*perBatch) * senders / time.Duration(*rate))
					time.Sleep(time.Until(next))
				}
				request := ptraceotlp.NewExportRequestFromTraces(gateway.Batch(rnd, *perBatch))
				began := time.Now()
				if _, err := client.Export(context.Background(), request); err != nil {
					failed <- err
					return
				}
				for took := int64(time.Since(began)); ; {
					if old := longest.Load(); took <= old || longest.CompareAndSwap(old, took) {
						break
					}
				}
				sent.Add(int64(*perBatch))
			}
		})
	}
	all.Wait()
	close(failed)
	return sent.Load(), time.Duration(longest.Load()), errors.Join(<-failed)
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// orderText is an order of twenty lines.
func orderText(words int) string {
	type line struct {
		Item     string `json:"item"`
		Quantity int    `json:"quantity"`
		Note     string `json:"note"`
	}
	lines := make([]line, 20)
	for i := range lines {
		lines[i] = line{fmt.Sprint("item ", i), i, strings.Repeat("always ", words)}
	}
	text, err := json.Marshal(lines)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// inSlices asks the processes one after the other, again and again, each for a slice of time
// as fast as it answers. Whether the machine has a fast or a slow second meets all of them
// alike. What a process does outside of its slices does not count, but for the sending of
// what it has recorded in them.
func inSlices(processes []*process, order string, turns []measurement) error {
	used := make([]time.Duration, len(processes))
	requests := make([]int64, len(processes))
	busy := make([]time.Duration, len(processes))
	for round := range *each {
		for n := range processes {
			i := (n + round) % len(processes)
			cpu, err := processes[i].cpuOf(func() error {
				began := time.Now()
				answered, err := processes[i].asFastAsItGoes(order)
				requests[i] += answered
				busy[i] += time.Since(began)
				return err
			})
			if err != nil {
				return err
			}
			used[i] += cpu
		}
	}
	for i, p := range processes {
		cpu, err := p.cpuOf(p.flush)
		if err != nil {
			return err
		}
		turns[i].cpu = float64((used[i] + cpu).Nanoseconds()) / 1e3 / float64(requests[i])
		turns[i].throughput = float64(requests[i]) / busy[i].Seconds()
	}
	return nil
}

// asFastAsItGoes returns how many orders the process has answered in a slice.
func (p *process) asFastAsItGoes(order string) (requests int64, err error) {
	var (
		all   sync.WaitGroup
		count atomic.Int64
		first = make(chan error, *clients)
		end   = time.Now().Add(*slice)
	)
	for range *clients {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := p.order(order); err != nil {
					first <- err
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	close(first)
	return count.Load(), <-first
}

// atARate returns how long each order took from the time at which it was due, so that one
// that had to wait for the client counts, too.
func (p *process) atARate(order string) ([]time.Duration, error) {
	took := make([]time.Duration, int(2*slice.Seconds()*float64(*rate)))
	errs := make([]error, len(took))
	began := time.Now()
	var all sync.WaitGroup
	for i := range took {
		due := began.Add(time.Second * time.Duration(i) / time.Duration(*rate))
		time.Sleep(time.Until(due))
		all.Go(func() {
			errs[i] = p.order(order)
			took[i] = time.Since(due)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

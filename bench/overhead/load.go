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

// measure gives the process a turn: orders as fast as it takes them, and then orders at
// a rate that it has time for.
func (p *process) measure(order string) (m measurement, err error) {
	if m.cpuAtStart, err = p.cpu(); err != nil {
		return m, err
	}
	began := time.Now()
	fast, err := p.asFastAsItGoes(order)
	if err != nil {
		return m, err
	}
	m.throughput = float64(fast) / time.Since(began).Seconds()
	took, err := p.atARate(order)
	if err != nil {
		return m, err
	}
	m.requests = fast + len(took)
	m.took = took
	return m, nil
}

func (p *process) asFastAsItGoes(order string) (requests int, err error) {
	var (
		all   sync.WaitGroup
		count atomic.Int64
		first = make(chan error, *clients)
		end   = time.Now().Add(*turn)
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
	return int(count.Load()), <-first
}

// atARate returns how long each order took from the time at which it was due, so that one
// that had to wait for the client counts, too.
func (p *process) atARate(order string) ([]time.Duration, error) {
	took := make([]time.Duration, int(turn.Seconds()*float64(*rate)))
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

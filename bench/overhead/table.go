package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// measurement is what a round, or a life, has told of a case.
type measurement struct {
	cpu        float64         // for a request, in microseconds
	throughput float64         // requests a second
	took       []time.Duration // of each order at the fixed rate
}

type series []measurement

// mean is the geometric one, so that the ratio of two means is the mean of the ratios.
func (s series) mean() (m measurement) {
	for _, one := range s {
		m.cpu += math.Log(one.cpu) / float64(len(s))
		m.throughput += math.Log(one.throughput) / float64(len(s))
		m.took = append(m.took, one.took...)
	}
	m.cpu, m.throughput = math.Exp(m.cpu), math.Exp(m.throughput)
	return m
}

func (c comparison) table(out io.Writer, results []series) {
	fmt.Fprintln(out, "| | CPU for a request, µs | more | requests/s | fewer | p99 at a fixed rate, ms |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|")
	cpu := func(m measurement) float64 { return m.cpu }
	throughput := func(m measurement) float64 { return m.throughput }
	slower := func(m measurement) float64 { return 1 / m.throughput }
	for i, s := range results {
		more, fewer := "", ""
		if i > 0 {
			more, fewer = s.more(results[0], cpu), s.more(results[0], slower)
		}
		fmt.Fprintf(out, "| %s | %.1f | %s | %.0f | %s | %.1f |\n", c.cases[i].name, s.median(cpu), more, s.median(throughput), fewer, s.p99())
	}
	fmt.Fprintln(out)
}

func (s series) median(of func(measurement) float64) float64 {
	values := make([]float64, len(s))
	for i, m := range s {
		values[i] = of(m)
	}
	return quantile(values, 0.5)
}

// p99 is of all lives together, in milliseconds.
func (s series) p99() float64 {
	var all []float64
	for _, m := range s {
		for _, t := range m.took {
			all = append(all, t.Seconds()*1e3)
		}
	}
	return quantile(all, 0.99)
}

// more returns by how many per cent a value is above that of base in the same life: the
// median of the lives, and the 95 % confidence interval of that median.
func (s series) more(base series, of func(measurement) float64) string {
	ratios := make([]float64, len(s))
	for i := range s {
		ratios[i] = 100 * (of(s[i])/of(base[i]) - 1)
	}
	low, high := medianInterval(len(ratios))
	return fmt.Sprintf("%+.1f %% (%+.1f to %+.1f)", quantile(ratios, 0.5), ratios[low], ratios[high])
}

// quantile sorts the values.
func quantile(of []float64, q float64) float64 {
	slices.Sort(of)
	return of[int(q*float64(len(of)-1)+0.5)]
}

// medianInterval returns between which of n sorted values the median lies, whatever the
// values' distribution is, 95 times in a hundred: how many of them are below it is
// binomial. It is all of them where n is too small for that.
func medianInterval(n int) (low, high int) {
	below, term := 0.0, math.Pow(0.5, float64(n)) // of at most low values, of low values
	for low = 0; low < n/2; low++ {
		if below += term; below > 0.025 {
			break
		}
		term *= float64(n-low) / float64(low+1)
	}
	low = max(low-1, 0)
	return low, n - 1 - low
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode"
)

// deadlocks prints those that stand. With --fail it exits with 1 if there is one, so
// that a pipeline can ask after its tests. If there is none, and the collector cannot
// know that, it exits with 3.
func deadlocks(ctx context.Context, c *client, o options, out, complain io.Writer) int {
	var raw json.RawMessage
	var list deadlockList
	err := c.get(ctx, "deadlocks", url.Values{"status": {"standing"}, "limit": {"1000"}}, &raw)
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		fmt.Fprintf(complain, "asyncinspect deadlocks: %v\n", err)
		return exitProblem
	}
	found := list.Deadlocks
	if o.certain {
		found = nil
		for _, d := range list.Deadlocks {
			if d.Confidence == "certain" {
				found = append(found, d)
			}
		}
	}
	unknown := list.Gaps.about("deadlocks")
	switch {
	case o.json:
		fmt.Fprintln(out, string(raw))
	case len(found) == 0 && len(unknown) > 0: // see below
	case len(found) == 0:
		fmt.Fprintln(out, "No deadlock stands.")
	default:
		for i, d := range found {
			if i > 0 {
				fmt.Fprintln(out)
			}
			fmt.Fprintln(out, strings.TrimRight(clean(d.Story), "\n"))
		}
	}
	if len(unknown) > 0 {
		what := "it is not known whether a deadlock stands"
		if len(list.Deadlocks) > 0 {
			what = "it is not known whether more deadlocks stand"
		}
		for _, why := range unknown {
			fmt.Fprintf(complain, "asyncinspect deadlocks: %s: %s\n", what, clean(why))
		}
	}
	switch {
	case len(found) > 0 && o.fail:
		return exitDeadlock
	case len(found) == 0 && len(unknown) > 0:
		return exitProblem
	}
	return 0
}

// clean replaces what would control the terminal, hide in a text or reorder it, as the
// collector's log does: names come from services.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

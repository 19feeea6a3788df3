package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// health asks whether the collector lives: for a container, which has no shell and no
// curl to ask with. Whatever keeps it from saying yes is the same exit code, the one
// that Docker knows.
func health(ctx context.Context, c *client, out, complain io.Writer) int {
	response, err := c.ask(ctx, "/livez", nil)
	if err != nil {
		fmt.Fprintf(complain, "asyncinspect health: %v\n", err)
		return exitUnhealthy
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, mostBytes)
	switch response.StatusCode {
	case http.StatusOK:
		fmt.Fprintln(out, "The collector lives.")
		return 0
	case http.StatusServiceUnavailable:
		err = fmt.Errorf("the inspector answers %s", response.Status)
		var answer struct {
			Checks []struct{ Status, Message string }
		}
		if json.NewDecoder(body).Decode(&answer) == nil {
			for _, check := range answer.Checks {
				if check.Status == "failed" {
					err = fmt.Errorf("%w: %s", err, check.Message)
				}
			}
		}
	default:
		err = refusal(response.Status, body)
	}
	fmt.Fprintf(complain, "asyncinspect health: %v\n", err)
	return exitUnhealthy
}

package main

import (
	"context"
	"log"
	"net/http"
	"time"
)

// script is what the shop does to itself with -show: some minutes of an ordinary
// bad day.
func script(ctx context.Context, address string) {
	for _, scene := range []struct {
		after time.Duration
		what  string
		says  string
	}{
		{8 * time.Second, "block", "stocktaking: someone holds the stock lock for 15 s; orders queue up behind it"},
		{20 * time.Second, "slow-bank", "the bank takes 15 s to answer; four calls wait for it, the others for a free call"},
		{20 * time.Second, "deadlock", "two careless clerks lock the warehouses in opposite orders: a real deadlock, for ever"},
	} {
		if !tick(ctx, scene.after) {
			return
		}
		log.Print(scene.says)
		response, err := http.Post(address+"/chaos/"+scene.what, "", nil)
		if err != nil {
			log.Print("chaos: ", err)
			return
		}
		response.Body.Close()
	}
}

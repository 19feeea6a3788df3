package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func main() {
	log.SetFlags(log.Ltime)
	role := flag.String("role", "shop", "shop, which starts a bank of its own, or bank")
	listen := flag.String("listen", "localhost:8080", "address to listen on")
	perSecond := flag.Int("orders", 40, "orders a second that the shop makes for itself; 0: none")
	length := flag.Duration("for", 0, "how long to run; 0: until interrupted")
	show := flag.Bool("show", false, "misbehave by yourself: a slow bank, a blocked lock, a deadlock")
	flag.Parse()
	log.SetPrefix(*role + " ")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	var err error
	switch *role {
	case "shop":
		err = runShop(ctx, *listen, *perSecond, *show)
	case "bank":
		err = runBank(ctx, *listen)
	default:
		err = fmt.Errorf("no such role: %q; there are shop and bank", *role)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func runShop(ctx context.Context, listen string, perSecond int, show bool) error {
	ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"))
	if err != nil {
		return fmt.Errorf("start async-inspect: %w", err)
	}
	bank, err := startBank()
	if err != nil {
		return fmt.Errorf("start the bank: %w", err)
	}
	defer bank.stop(io.Discard)

	c := newCounts()
	s := newShop(c, bank.address)
	server, address, err := serve(listen, s.handler())
	if err != nil {
		return err
	}
	log.Printf("open at %s", address)

	working, finish := context.WithCancel(context.WithoutCancel(ctx))
	s.work(working)
	if perSecond > 0 {
		go customers(ctx, address, perSecond)
	}
	if show {
		go script(ctx, address)
	}
	<-ctx.Done()

	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	finish()
	// Orders that are stuck do not end; the goodbye says so.
	if err := server.Shutdown(closing); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Print("close: ", err)
	}
	// Who works on now would not be in the counts of both.
	s.settle(2 * time.Second)
	if err := ins.Shutdown(closing); err != nil {
		log.Print("shut down async-inspect: ", err)
	}
	return report("shop", c, bank)
}

func runBank(ctx context.Context, listen string) error {
	ctx, gone := context.WithCancel(ctx)
	go func() {
		// The shop holds the other end: whatever becomes of it, the bank goes, too.
		_, _ = io.Copy(io.Discard, os.Stdin)
		gone()
	}()
	ins, err := inspect.Start(ctx, inspect.WithServiceName("bank"))
	if err != nil {
		return fmt.Errorf("start async-inspect: %w", err)
	}
	c := newCounts()
	server, address, err := serve(listen, newBank(c).handler())
	if err != nil {
		return err
	}
	fmt.Println(address)
	<-ctx.Done()

	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(closing)
	if err := ins.Shutdown(closing); err != nil {
		log.Print("shut down async-inspect: ", err)
	}
	return report("bank", c, nil)
}

// serve listens at once, so that a taken port is an error here, and serves.
func serve(listen string, h http.Handler) (*http.Server, string, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, "", fmt.Errorf("listen (choose another address with -listen): %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal("serve: ", err)
		}
	}()
	return server, "http://" + l.Addr().String(), nil
}

// bankProcess is the bank as the shop's child.
type bankProcess struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer
	stdout  *bufio.Reader
}

func startBank() (*bankProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-role", "bank", "-listen", "localhost:0")
	cmd.Stderr = os.Stderr
	// Ctrl-C reaches the whole group of the terminal; the bank closes after the shop.
	cmd.SysProcAttr = ownGroup
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &bankProcess{cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	address, err := b.stdout.ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		return nil, fmt.Errorf("it did not say its address: %w", err)
	}
	b.address = address[:len(address)-1]
	return b, nil
}

// stop closes the bank and copies what it counted to w.
func (b *bankProcess) stop(w io.Writer) {
	if b.stdin == nil {
		return
	}
	_ = b.stdin.Close()
	b.stdin = nil
	_, _ = io.Copy(w, b.stdout)
	_ = b.cmd.Wait()
}

// report prints what the process has counted, a line of JSON for each service.
func report(service string, c *counts, bank *bankProcess) error {
	line := struct {
		Service string                `json:"service"`
		Tasks   map[string]taskCounts `json:"tasks"`
	}{service, c.snapshot()}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		return err
	}
	if bank != nil {
		bank.stop(os.Stdout)
	}
	return nil
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a shop that runs.
type process struct {
	cmd    *exec.Cmd
	url    string
	client *http.Client
}

// start builds the shop with tags, if it is not there yet, and starts it.
func start(directory, tags string, environment ...string) (*process, error) {
	program := filepath.Join(directory, "shop-"+tags)
	if _, err := os.Stat(program); err != nil {
		build := exec.Command("go", "build", "-o", program, "-tags", tags, "./overhead/shop")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("building the shop: %w", err)
		}
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 4 * *clients, DisableCompression: true,
	}}}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the shop does not say where it listens: %w", err)
	}
	p.url = "http://" + strings.TrimSpace(address)
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// cpu returns the CPU time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	response, err := p.client.Get(p.url + "/cpu")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(string(text), 10, 64)
	return time.Duration(ns), err
}

// order sends an order and waits for its receipt.
func (p *process) order(text string) error {
	response, err := p.client.Post(p.url+"/orders", "application/json", strings.NewReader(text))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("an order is answered with %s", response.Status)
	}
	return err
}

// settle tells the CPU time of each turn: until the next one began, or until now.
func (p *process) settle(turns series) error {
	end, err := p.cpu()
	if err != nil {
		return err
	}
	for i := len(turns) - 1; i >= 0; i-- {
		turns[i].cpu = (end - turns[i].cpuAtStart) / time.Duration(turns[i].requests)
		end = turns[i].cpuAtStart
	}
	return nil
}

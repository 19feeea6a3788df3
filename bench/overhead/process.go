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

// start builds the shop with tags, and starts it. The functions of the program lie in an
// order that layout shuffles.
func start(directory, tags string, layout int, environment ...string) (*process, error) {
	program := filepath.Join(directory, "shop-"+tags)
	build := exec.Command("go", "build", "-o", program, "-tags", tags, fmt.Sprint("-ldflags=-randlayout=", layout), "./overhead/shop")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building the shop: %w", err)
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

// switchTo starts the shop's SDK in a mode.
func (p *process) switchTo(mode string) error {
	_, err := p.ask(http.MethodPost, "/mode/"+mode)
	return err
}

// flush has it send what it has recorded.
func (p *process) flush() error {
	_, err := p.ask(http.MethodGet, "/flush")
	return err
}

// cpuOf returns the CPU time that the process uses while something is done.
func (p *process) cpuOf(do func() error) (time.Duration, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return after - before, err
}

// cpu returns the CPU time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	text, err := p.ask(http.MethodGet, "/cpu")
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(ns), err
}

// ask returns the body of an answer that is 200.
func (p *process) ask(method, path string) (string, error) {
	request, err := http.NewRequest(method, p.url+path, nil)
	if err != nil {
		return "", err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered with %s", path, response.Status)
	}
	return string(text), err
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

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Variables of the environment, for what should not stand on a command line.
const (
	endpointVariable = "ASYNC_INSPECT_INSPECTOR"
	tokenVariable    = "ASYNC_INSPECT_TOKEN"
	passwordVariable = "ASYNC_INSPECT_PASSWORD"
)

// options are the flags.
type options struct {
	endpoint  string
	token     string // from the environment
	tokenFile string
	user      string
	caFile    string
	certFile  string
	keyFile   string
	insecure  bool
	timeout   time.Duration

	interval time.Duration // top
	fail     bool          // deadlocks
	json     bool
	certain  bool
}

func (o *options) flags(command string, out io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("asyncinspect "+command, flag.ContinueOnError)
	f.SetOutput(out)
	endpoint := os.Getenv(endpointVariable)
	if endpoint == "" {
		endpoint = "http://localhost:9090"
	}
	o.token = os.Getenv(tokenVariable)
	f.StringVar(&o.endpoint, "endpoint", endpoint, "address of the inspector; the default is in "+endpointVariable)
	f.StringVar(&o.tokenFile, "token-file", "", "file with a bearer token; without it the token in "+tokenVariable)
	f.StringVar(&o.user, "user", "", "name for basic authentication; the password is in "+passwordVariable)
	f.StringVar(&o.caFile, "ca-file", "", "certificates of who may have signed that of the server, PEM")
	f.StringVar(&o.certFile, "cert-file", "", "certificate of the client, PEM")
	f.StringVar(&o.keyFile, "key-file", "", "key of the client, PEM")
	f.BoolVar(&o.insecure, "insecure-skip-verify", false, "accept any certificate of the server")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "for one answer")
	if command == "top" {
		f.DurationVar(&o.interval, "interval", 2*time.Second, "how often to ask")
	}
	if command == "deadlocks" {
		f.BoolVar(&o.fail, "fail", false, "exit with 1 if one stands")
		f.BoolVar(&o.certain, "certain", false, "only those that are certain")
		f.BoolVar(&o.json, "json", false, "print what the API answers")
	}
	return f
}

// client makes a client of what the flags say.
func (o *options) client() (*client, error) {
	address, err := url.Parse(o.endpoint)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, fmt.Errorf("--endpoint: %q is not an address such as http://localhost:9090", o.endpoint)
	}
	if o.interval < 0 || o.timeout <= 0 {
		return nil, errors.New("--interval, --timeout: must be positive")
	}
	c := &client{base: strings.TrimSuffix(o.endpoint, "/"), http: &http.Client{Timeout: o.timeout}}
	switch {
	case o.user != "" && (o.tokenFile != "" || o.token != ""):
		return nil, errors.New("--user: cannot stand beside a token")
	case o.user != "":
		c.authorize = func(r *http.Request) { r.SetBasicAuth(o.user, os.Getenv(passwordVariable)) }
	case o.tokenFile != "":
		data, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		o.token = strings.TrimSpace(string(data))
		fallthrough
	case o.token != "":
		c.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+o.token) }
	}
	if address.Scheme == "http" && (o.caFile != "" || o.certFile != "" || o.insecure) {
		return nil, errors.New("--endpoint: certificates are for https")
	}
	config := &tls.Config{InsecureSkipVerify: o.insecure}
	if o.caFile != "" {
		pem, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: there is no certificate in %s", o.caFile)
		}
	}
	if (o.certFile == "") != (o.keyFile == "") {
		return nil, errors.New("--cert-file and --key-file: one needs the other")
	}
	if o.certFile != "" {
		pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	c.http.Transport = transport
	return c, nil
}

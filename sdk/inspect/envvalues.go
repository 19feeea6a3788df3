package inspect

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// anything is the check of a variable of which every value can be used.
func anything(*config, string) error { return nil }

func setProtocol(c *config, v string) error {
	c.protocol = v
	return checkProtocol(v)
}

func setInsecure(c *config, v string) (err error) {
	c.insecure, err = parseBool(v)
	return err
}

func setLimit(into func(*config) *int) func(*config, string) error {
	return func(c *config, v string) (err error) { *into(c), err = parseLimit(v); return err }
}

func setMilliseconds(into func(*config) *time.Duration) func(*config, string) error {
	return func(c *config, v string) error {
		n, err := parseLimit(v)
		*into(c) = time.Duration(n) * time.Millisecond
		return err
	}
}

// setSpanLimit sets a limit of spans, for which a value below 0 means none.
func setSpanLimit(into func(*config) *int) func(*config, string) error {
	return func(c *config, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not an integer; must be a limit of 0 or more, or negative for no limit", v)
		}
		*into(c) = int(n)
		return nil
	}
}

// setSampler reads a sampler of the specification. Those with a ratio use consistent
// probability sampling, which for traceidratio the specification asks for, too.
func setSampler(c *config, v string) error {
	root, parentBased := strings.CutPrefix(strings.ToLower(v), "parentbased_")
	switch root {
	case "always_on":
		c.rate = 1
	case "always_off":
		c.rate = 0
	case "traceidratio":
		c.rate, c.ratio = 1, true
	default:
		return fmt.Errorf("%q is not supported; must be always_on, always_off or traceidratio, optionally prefixed with parentbased_", v)
	}
	c.everySpan = !parentBased
	return nil
}

// checkResourceAttributes checks a list of key=value with percent-encoded values.
func checkResourceAttributes(list string) error {
	for i, item := range strings.Split(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		key, v, ok := strings.Cut(item, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok:
			return fmt.Errorf("%q has no value; must be key=value pairs separated by commas", strings.TrimSpace(item))
		case key == "":
			return fmt.Errorf("attribute %d has no key; must be key=value pairs separated by commas", i+1)
		case key == taskspan.ProcessEpoch:
			return fmt.Errorf("%s cannot be set here; the SDK sets it", key)
		}
		if _, err := url.PathUnescape(strings.TrimSpace(v)); err != nil {
			return fmt.Errorf("the value of %s is not percent-encoded: %w; write %% as %%25", key, err)
		}
	}
	return nil
}

// checkHeaderList checks a list of name=value with percent-encoded values. Values are
// secret.
func checkHeaderList(c *config, list string) error {
	for i, item := range strings.Split(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		name, v, ok := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return fmt.Errorf("header %d has no value; must be name=value pairs separated by commas", i+1)
		}
		if err := checkHeaderName(name); err != nil {
			return fmt.Errorf("header %d: %w", i+1, err)
		}
		v, err := url.PathUnescape(v)
		if err != nil {
			return fmt.Errorf("the value of header %s is not percent-encoded; write %% as %%25 and a comma as %%2C", name)
		}
		if err := checkHeaderValue(strings.TrimSpace(v)); err != nil {
			return fmt.Errorf("the value of header %s: %w", name, err)
		}
	}
	return nil
}

// checkHeaderName accepts what both protocols can send. A name that is none may be a
// part of a secret that was cut at a comma, so it is not shown.
func checkHeaderName(name string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	for _, r := range name {
		if r >= utf8.RuneSelf || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", r) {
			return errors.New("the name has an invalid character; allowed are letters, digits, and the characters -, . and _")
		}
	}
	return nil
}

func checkHeaderValue(v string) error {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return errors.New("it has an invalid character; allowed are printable ASCII characters")
		}
	}
	return nil
}

func checkCompression(_ *config, v string) error {
	if v != "gzip" && v != "none" {
		return fmt.Errorf("%q is not supported; must be gzip or none", v)
	}
	return nil
}

func checkTimeout(_ *config, v string) error {
	if n, err := strconv.ParseInt(v, 10, 32); err != nil || n < 0 {
		return fmt.Errorf("%q is not a timeout; must be between 0 (no timeout) and 2147483647 milliseconds", v)
	}
	return nil
}

// checkCertificates checks a file of certificates of authorities.
func checkCertificates(_ *config, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return fmt.Errorf("%s has no certificate in PEM format", file)
	}
	return nil
}

// checkClientCertificate checks the file of a client certificate, whose key is in the
// file that another variable names.
func checkClientCertificate(keyVariable string) func(*config, string) error {
	return func(_ *config, file string) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if b, _ := pem.Decode(text); b == nil {
			return fmt.Errorf("%s has no certificate in PEM format", file)
		}
		keyFile := valueOf(keyVariable)
		if keyFile == "" {
			return fmt.Errorf("its private key is missing; set %s to the key's file", keyVariable)
		}
		key, err := os.ReadFile(keyFile)
		if err != nil {
			return nil //nolint:nilerr // an error of the other variable
		}
		if b, _ := pem.Decode(key); b == nil {
			return nil // the same
		}
		if _, err := tls.X509KeyPair(text, key); err != nil {
			return fmt.Errorf("%s does not belong to the key in %s: %w", file, keyFile, err)
		}
		return nil
	}
}

// checkClientKey checks the file of the private key of a client certificate.
func checkClientKey(certificateVariable string) func(*config, string) error {
	return func(_ *config, file string) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if b, _ := pem.Decode(text); b == nil {
			return fmt.Errorf("%s has no private key in PEM format", file)
		}
		if valueOf(certificateVariable) == "" {
			return fmt.Errorf("its certificate is missing; set %s to the certificate's file", certificateVariable)
		}
		return nil
	}
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean; must be true or false", v)
}

func parseRate(v string) (float64, error) {
	rate, err := strconv.ParseFloat(v, 64)
	if err != nil || !(rate >= 0 && rate <= 1) {
		return 0, fmt.Errorf("%q is not a rate; must be between 0 and 1", v)
	}
	return rate, nil
}

func parseLimit(v string) (int, error) {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n <= 0 {
		return 1, fmt.Errorf("%q is not an integer; must be between 1 and 2147483647", v)
	}
	return int(n), nil
}

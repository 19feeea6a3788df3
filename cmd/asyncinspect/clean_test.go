package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestANameNeitherControlsNorHidesNorReorders(t *testing.T) {
	for text, want := range map[string]string{
		"plain name": "plain name", "two\nlines": "two\nlines", "a\tb": "a b", "café 注文 😀 → … ·": "café 注文 😀 → … ·",
		"\x1b[31m": "\uFFFD[31m", "\u009b31m": "\uFFFD31m", "a\rb": "a\uFFFDb", "a\x7fb": "a\uFFFDb", "a\xffb": "a\uFFFDb",
		"user\u202egnp.exe": "user\uFFFDgnp.exe", "\u2066a\u2069": "\uFFFDa\uFFFD", "\u200fa": "\uFFFDa",
		"ad\u200bmin": "ad\uFFFDmin", "ad\ufeffmin": "ad\uFFFDmin", "ad\u00admin": "ad\uFFFDmin", "ad\u2060min": "ad\uFFFDmin", "a\u2028b": "a\uFFFDb",
	} {
		require.Equal(t, want, clean(text), "%q", text)
	}
}

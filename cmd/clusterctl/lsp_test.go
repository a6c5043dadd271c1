package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// converse sends messages to a language server and returns what it says to each.
func converse(t *testing.T, messages ...string) (answers []string, err error) {
	t.Helper()
	var in, out bytes.Buffer
	for _, m := range messages {
		fmt.Fprintf(&in, "Content-Length: %d\r\n\r\n%s", len(m), m)
	}
	s := &languageServer{in: bufio.NewReader(&in), out: &out, open: map[string]string{}}
	err = s.serve()
	r := bufio.NewReader(&out)
	for {
		body, rerr := readMessage(r)
		if errors.Is(rerr, io.EOF) {
			return answers, err
		}
		if rerr != nil {
			t.Fatal(rerr)
		}
		answers = append(answers, string(body))
	}
}

// An editor's session: what is wrong, what a word means, what may stand here, how to lay it out.
func TestLanguageServer(t *testing.T) {
	text := "vrrp_instance ä {\n  interface eth0\n  virtual_router_id 999\n  priority 100\n  \n}\n"
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	doc := `"textDocument":{"uri":"file:///nowhere/keepalived.conf"`
	got, err := converse(t,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"processId":null}}`,
		`{"jsonrpc":"2.0","method":"initialized","params":{}}`,
		`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{`+doc+`,"text":`+string(quoted)+`}}}`,
		`{"jsonrpc":"2.0","id":2,"method":"textDocument/hover","params":{`+doc+`},"position":{"line":2,"character":5}}}`,
		`{"jsonrpc":"2.0","id":3,"method":"textDocument/completion","params":{`+doc+`},"position":{"line":4,"character":2}}}`,
		`{"jsonrpc":"2.0","id":4,"method":"textDocument/formatting","params":{`+doc+`},"options":{}}}`,
		`{"jsonrpc":"2.0","id":5,"method":"textDocument/nothing","params":{}}`,
		`{"jsonrpc":"2.0","method":"textDocument/didChange","params":{`+doc+`},"contentChanges":[{"text":"global_defs {\n}\n"}]}}`,
		`{"jsonrpc":"2.0","method":"textDocument/didClose","params":{`+doc+`}}}`,
		`{not json`,
		`{"jsonrpc":"2.0","id":6,"method":"shutdown"}`,
		`{"jsonrpc":"2.0","method":"exit"}`,
	)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{`"hoverProvider":true`, `"id":1`},
		{"publishDiagnostics", `"code":"out-of-range"`, `"start":{"line":2,"character":20},"end":{"line":2,"character":23}`},
		{`**virtual_router_id**`, "1..255"},
		{`"label":"advert_int"`, `"label":"virtual_ipaddress"`},
		{`"newText":"vrrp_instance ä {\n    interface eth0\n`, `"end":{"line":6`},
		{"no such method", "-32601"},
		{`"diagnostics":[]`},
		{`"diagnostics":[]`},
		{"-32700"},
		{`"id":6`, `"result":null`},
	}
	if len(got) != len(want) {
		t.Fatalf("%d answers, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, parts := range want {
		for _, part := range parts {
			if !strings.Contains(got[i], part) {
				t.Errorf("answer %d has no %s:\n%s", i, part, got[i])
			}
		}
	}
	if strings.Contains(got[3], `"label":"real_server"`) {
		t.Error("completion offers a keyword of another block")
	}
}

func TestLanguageServerFraming(t *testing.T) {
	for in, want := range map[string]string{
		"Content-Length: 5\r\n\r\nab":                   "unexpected EOF",
		"Content-Length: 99999999999\r\n\r\n":           "want a number",
		"Content-Length: -1\r\n\r\n":                    "want a number",
		"X: y\r\n\r\n":                                  "without Content-Length",
		strings.Repeat("A: b\r\n", 2000):                "no end",
		strings.Repeat("A", 9000):                       "no end",
		"Content-Le":                                    "unexpected EOF",
		"content-length:2\r\nContent-Type: x\r\n\r\n{}": "",
	} {
		_, err := readMessage(bufio.NewReader(strings.NewReader(in)))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %v, want %q", in, err, want)
		}
	}
}

// Whatever an editor sends: no panic, and every answer is a message.
func FuzzLanguageServer(f *testing.F) {
	f.Add([]byte("Content-Length: 2\r\n\r\n{}"), "vrrp_instance X {\n", 1, 3)
	f.Add([]byte("Content-Length: 1\n\nx"), "@a $X {{\"\n}", 9, -1)
	f.Fuzz(func(t *testing.T, raw []byte, text string, line, character int) {
		var out bytes.Buffer
		s := &languageServer{in: bufio.NewReader(bytes.NewReader(raw)), out: &out, open: map[string]string{"file:///k": text}}
		_ = s.serve() // any error will do
		for _, method := range []string{"hover", "completion", "formatting", "didChange"} {
			p, err := json.Marshal(map[string]any{"textDocument": map[string]any{"uri": "file:///k"}, "position": position{line, character}, "contentChanges": []any{map[string]any{"text": text}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, rerr, err := s.handle(rpcMessage{Method: "textDocument/" + method, Params: p}); err != nil || rerr != nil {
				t.Fatal(err, rerr)
			}
		}
		r := bufio.NewReader(&out)
		for {
			body, err := readMessage(r)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || !json.Valid(body) {
				t.Fatalf("%q: %v", body, err)
			}
		}
	})
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"quorate/config"
	"quorate/internal/console"
)

func (c *cli) lspCmd() *cobra.Command {
	var nodes []string
	cmd := &cobra.Command{
		Use: "lsp", Short: "language server for editors, on standard input and output", Args: console.NoArgs,
		Long: "lsp speaks the Language Server Protocol 3.17: the findings of clusterctl check while a file is edited, what a keyword\n" +
			"means, the keywords that may stand in a block, and the layout of clusterctl fmt. Files that include lines name are\n" +
			"read from the disk.",
		Example: "  -- Neovim 0.11, in init.lua\n" +
			"  vim.filetype.add({ filename = { ['keepalived.conf'] = 'keepalived' } })\n" +
			"  vim.lsp.config('clusterctl', { cmd = { 'clusterctl', 'lsp' }, filetypes = { 'keepalived' } })\n" +
			"  vim.lsp.enable('clusterctl')",
		RunE: func(*cobra.Command, []string) error {
			s := &languageServer{in: bufio.NewReader(c.In), out: c.Out, open: map[string]string{}, nodes: nodes}
			return s.serve()
		},
	}
	cmd.Flags().StringSliceVar(&nodes, "nodes", nil, "read files as each of these directors does, and compare")
	return cmd
}

// languageServer answers one editor: one message after the other, so that answers come in order.
type languageServer struct {
	in    *bufio.Reader
	out   io.Writer
	open  map[string]string // documents by URI, as the editor has them
	nodes []string
	down  bool // shutdown was asked for
}

// rpcMessage is a JSON-RPC 2.0 request, or a notification when it has no ID.
type rpcMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error codes of JSON-RPC 2.0, section 5.1.
const (
	rpcParse         = -32700
	rpcNoMethod      = -32601
	rpcInvalidParams = -32602
)

// maxHeader bounds the lines before a message.
const maxHeader = 4 << 10

func (s *languageServer) serve() error {
	for {
		body, err := readMessage(s.in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("language server: %w", err)
		}
		var m rpcMessage
		if err := json.Unmarshal(body, &m); err != nil {
			if err := s.send(map[string]any{"id": nil, "error": rpcError{rpcParse, "the message is no JSON-RPC request"}}); err != nil {
				return err
			}
			continue
		}
		if m.Method == "exit" {
			if !s.down {
				return console.ExitCode(1) // LSP 3.17, exit
			}
			return nil
		}
		result, rerr, err := s.handle(m)
		if err != nil {
			return err
		}
		if len(m.ID) == 0 {
			continue // a notification has no answer
		}
		answer := map[string]any{"id": m.ID, "result": result}
		if rerr != nil {
			answer = map[string]any{"id": m.ID, "error": rerr}
		}
		if err := s.send(answer); err != nil {
			return err
		}
	}
}

// readMessage reads a header with Content-Length, an empty line, and that many bytes.
func readMessage(r *bufio.Reader) ([]byte, error) {
	length, size := -1, 0
	for {
		line, err := r.ReadSlice('\n')
		if size += len(line); size > maxHeader || errors.Is(err, bufio.ErrBufferFull) {
			return nil, errors.New("the header of a message has no end")
		}
		if err != nil {
			if errors.Is(err, io.EOF) && size > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		text := textproto.TrimString(string(line))
		if text == "" {
			break
		}
		name, value, _ := strings.Cut(text, ":")
		if strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(textproto.TrimString(value)); err != nil || length < 0 || length > maxConfig {
				return nil, fmt.Errorf("Content-Length %q: want a number up to %d", console.Clean(value), maxConfig)
			}
		}
	}
	if length < 0 {
		return nil, errors.New("a message without Content-Length")
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(length))) // grows with what comes, not with what was announced
	if err == nil && len(body) < length {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}

func (s *languageServer) send(m map[string]any) error {
	m["jsonrpc"] = "2.0"
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Content-Length: %d\r\n\r\n%s", len(b), b)
	return err
}

// lspParams has what the methods below need of their parameters.
type lspParams struct {
	TextDocument struct {
		URI  string `json:"uri"`
		Text string `json:"text"`
	} `json:"textDocument"`
	ContentChanges []struct {
		Text string `json:"text"`
	} `json:"contentChanges"`
	Position position `json:"position"`
}

// position counts lines and UTF-16 units from 0.
type position struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

type span struct {
	Start position `json:"start"`
	End   position `json:"end"`
}

func (s *languageServer) handle(m rpcMessage) (result any, rerr *rpcError, err error) {
	type object = map[string]any
	var p lspParams
	if len(m.Params) > 0 && m.Method != "initialize" {
		if err := json.Unmarshal(m.Params, &p); err != nil {
			rerr = &rpcError{rpcInvalidParams, m.Method + ": " + err.Error()} // the editor's error, not ours
			return nil, rerr, nil                                             //nolint:nilerr // told to the editor
		}
	}
	uri := p.TextDocument.URI
	text := s.open[uri]
	switch m.Method {
	case "initialize":
		return object{
			"capabilities": object{"textDocumentSync": 1, "hoverProvider": true, "completionProvider": object{}, "documentFormattingProvider": true},
			"serverInfo":   object{"name": "clusterctl lsp"},
		}, nil, nil
	case "shutdown":
		s.down = true
	case "textDocument/didOpen":
		s.open[uri] = p.TextDocument.Text
		return nil, nil, s.publish(uri)
	case "textDocument/didChange":
		if n := len(p.ContentChanges); n > 0 {
			s.open[uri] = p.ContentChanges[n-1].Text
		}
		return nil, nil, s.publish(uri)
	case "textDocument/didClose":
		delete(s.open, uri)
		return nil, nil, s.send(object{"method": "textDocument/publishDiagnostics", "params": object{"uri": uri, "diagnostics": []any{}}})
	case "textDocument/hover":
		if k, ok := config.KeywordAt(text, p.Position.Line+1, byteColumn(lineOf(text, p.Position.Line), p.Position.Character)); ok {
			return object{"contents": object{"kind": "markdown", "value": k.Markdown()}}, nil, nil
		}
	case "textDocument/completion":
		items := []object{}
		for _, k := range config.KeywordsAt(text, p.Position.Line+1) {
			items = append(items, object{"label": k.Name, "kind": 14, "detail": k.Arguments, "documentation": k.Meaning})
		}
		return items, nil, nil
	case "textDocument/formatting":
		if laid := config.Format(text); laid != text {
			end := position{strings.Count(text, "\n"), units(text[strings.LastIndexByte(text, '\n')+1:])}
			return []object{{"range": span{End: end}, "newText": laid}}, nil, nil
		}
		return []object{}, nil, nil
	default:
		if len(m.ID) > 0 {
			return nil, &rpcError{rpcNoMethod, "no such method: " + console.Clean(m.Method)}, nil
		}
	}
	return nil, nil, nil
}

// publish checks a document and sends what was found in it.
func (s *languageServer) publish(uri string) error {
	name := uri
	if u, err := url.Parse(uri); err == nil && u.Scheme == "file" {
		name = filepath.FromSlash(u.Path)
	}
	src := overlay{Files: config.Files{name: s.open[uri]}, Source: &disk{in: strings.NewReader("")}}
	ds, _ := lint(name, src, "", s.nodes)
	list := []map[string]any{}
	for i, f := range findings(ds) {
		if f.File != name {
			continue // of a file it includes, which has its own
		}
		line := lineOf(s.open[uri], f.Line-1)
		from := min(max(f.Column-1, 0), len(line))
		to := from + len(line[from:]) - len(strings.TrimLeft(line[from:], "!#{}\"")) // a finding about a brace
		if n := strings.IndexAny(line[to:], " \t\"{}#!\r"); n >= 0 {
			to += n
		} else {
			to = len(line)
		}
		text := f.Message
		if f.Hint != "" {
			text += "\n" + f.Hint
		}
		at := max(f.Line-1, 0)
		list = append(list, map[string]any{
			"range":    span{position{at, units(line[:from])}, position{at, units(line[:to])}},
			"severity": map[config.Severity]int{config.Error: 1, config.Warning: 2, config.Info: 3}[ds[i].Severity],
			"code":     f.Code, "source": "clusterctl", "message": text,
		})
	}
	return s.send(map[string]any{"method": "textDocument/publishDiagnostics", "params": map[string]any{"uri": uri, "diagnostics": list}})
}

// lineOf returns line n of a text, counted from 0.
func lineOf(text string, n int) string {
	for line := range strings.Lines(text) {
		if n == 0 {
			return strings.TrimRight(line, "\r\n")
		}
		n--
	}
	return ""
}

// units is the length of a text in UTF-16 units.
func units(s string) (n int) {
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// byteColumn is the byte, from 0, at a number of UTF-16 units.
func byteColumn(line string, character int) int {
	at := 0
	for at < len(line) && character > 0 {
		r, n := utf8.DecodeRuneInString(line[at:])
		character -= max(1, utf16.RuneLen(r))
		at += n
	}
	return at
}

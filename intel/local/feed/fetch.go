package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"iocpipe/httpclient"
)

// maxHeader bounds the head of an answer, in bytes.
const maxHeader = 256 << 10

// A content is what was fetched of one feed: copies that nobody else changes, in a folder of their own.
type content struct {
	parts []part
	bytes int64 // of all parts
	hash  hash.Hash

	unchanged  bool // it is what the store holds
	sha256     string
	validators           // of all of it
	of         string    // the URL that gave them, with keyMark for the key
	retryAfter time.Time // before which the server does not want to be asked; zero if it says nothing

	kind           string // the format that it is read as
	taken, refused int
	faults         int      // of those refused
	samples        []string // of what is refused
}

// A part is one file of a content.
type part struct {
	path   string // of the copy
	name   string // where it is from, for messages; empty when there is only one
	format string // if it is not the feed's
}

// A fetcher copies the content of feeds. It is safe for concurrent use.
type fetcher struct {
	Options
	transport *http.Transport
	dir       string // of the copies
	copies    atomic.Int64
}

func newFetcher(opt Options, dir string) (*fetcher, error) {
	t, err := httpclient.NewTransport(opt.Proxy, opt.CAFile)
	if err != nil {
		return nil, err
	}
	t.DialContext = (&net.Dialer{Timeout: opt.ConnectTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = opt.ConnectTimeout
	t.ResponseHeaderTimeout = opt.HeaderTimeout
	t.MaxResponseHeaderBytes = maxHeader
	t.DisableCompression = true // it is undone here, where both sizes are bounded
	return &fetcher{Options: opt, transport: t, dir: dir}, nil
}

// fetch copies what f says now. The content is never nil: what it holds of the server's wishes counts even with an error.
// held says that the store still has what f said before.
func (t *fetcher) fetch(ctx context.Context, f *Feed, held bool) (*content, error) {
	c := &content{hash: sha256.New()}
	err := t.copyAll(ctx, f, held, c)
	if err == nil && !c.unchanged {
		c.sha256 = hex.EncodeToString(c.hash.Sum(nil))
		c.unchanged = held && c.sha256 == f.SHA256
	}
	return c, err
}

func (t *fetcher) copyAll(ctx context.Context, f *Feed, held bool, c *content) error {
	if !isWeb(f.From) {
		return t.copyFiles(ctx, f, c)
	}
	from, key := f.source(t.Getenv)
	if key == "" && (f.KeyNeeded || strings.Contains(from, keyMark)) {
		return fmt.Errorf("it wants a key: set %s in the environment", f.KeyEnv)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("not done within %s", Duration(t.Timeout)))
	defer cancel()
	d := &download{fetcher: t, feed: f, key: key, content: c}
	if held && f.Of == from {
		d.known = validators{f.ETag, f.LastModified}
	}
	c.of = from
	target := strings.ReplaceAll(from, keyMark, url.PathEscape(key))
	walk := d.document
	switch f.Format {
	case "otx":
		walk = d.pages
	case "misp-feed":
		walk = d.events
	}
	return d.withoutSecrets(ctx, walk(ctx, target))
}

// copyFiles copies a file, or the files of a folder.
func (t *fetcher) copyFiles(ctx context.Context, f *Feed, c *content) error {
	info, err := os.Stat(f.From)
	if err != nil {
		return err
	}
	for path, err := range t.Formats.Files(f.From) {
		if err != nil {
			return err
		}
		name := ""
		if info.IsDir() {
			name, _ = filepath.Rel(f.From, path) // path is below it
		}
		if err := t.copyFile(ctx, f, c, path, name); err != nil {
			return err
		}
	}
	if len(c.parts) == 0 {
		return fmt.Errorf("%s: no file in it", f.From)
	}
	return nil
}

func (t *fetcher) copyFile(ctx context.Context, f *Feed, c *content, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a file", path)
	}
	m := &meter{fetcher: t, ctx: ctx, r: file, feed: f.Name, total: info.Size(), left: t.MaxBytes}
	if _, err := t.keep(m, c, name); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// keep copies r to a part of c.
func (t *fetcher) keep(r io.Reader, c *content, name string) (path string, err error) {
	path = filepath.Join(t.dir, strconv.FormatInt(t.copies.Add(1), 10))
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(io.MultiWriter(file, c.hash), &atMost{r, t.MaxContent - c.bytes})
	c.bytes += n
	if err := errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	c.parts = append(c.parts, part{path: path, name: name})
	return path, nil
}

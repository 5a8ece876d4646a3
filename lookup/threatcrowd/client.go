// Package threatcrowd asks a ThreatCrowd v2 search API: the public host that it was made for, a mirror, or iocpipe's
// own server.
//
// The protocol is one GET without a key for each question. The object's name is in the path and the value in the
// query (/domain/report/?domain=, /ip/report/?ip=, /email/report/?email=, /antivirus/report/?antivirus=, and for a
// hash of any kind /file/report/?resource=); the answer is one JSON object, which [intel.ParseReport] reads and
// cleans. Votes are cast by a GET, too, on /vote.php at the host's root.
//
// What the API and what stood before it were seen to do wrong is an error here, never an answer: under status 200 a
// page of HTML, no body at all, the words "Too many connections", an object that was cut off; pages of a proxy,
// endless and dripping bodies, redirects to other hosts. JSON that calls itself text/html is an answer.
package threatcrowd

import (
	"context"
	"fmt"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/lookup/httpapi"
)

// DefaultPath is where the API lives on a host when the base URL has no path.
const DefaultPath = "/searchApi/v2"

// A Client asks one API. It is safe for concurrent use.
type Client struct {
	api *httpapi.Client
}

// New returns a client of the v2 API that cfg describes. It sends nothing.
func New(cfg httpapi.Config) (*Client, error) {
	api, err := httpapi.New(cfg, DefaultPath)
	if err != nil {
		return nil, err
	}
	return &Client{api}, nil
}

// Local reports whether the API's host is this one or on a private network; see [httpapi.Client.Local].
func (c *Client) Local() bool { return c.api.Local() }

// Types returns what the API can be asked about: everything.
func (c *Client) Types() extract.TypeSet { return extract.AllTypes }

// Lookup asks for the report about key, with one request and at most three redirects on the same host.
// Besides what [lookup.Provider] promises: a timeout matches [context.DeadlineExceeded].
func (c *Client) Lookup(ctx context.Context, key extract.Key) (intel.Report, error) {
	path, ok := reportPath(key)
	if !ok {
		return intel.Report{}, fmt.Errorf("%s: %w: %s", c.api.Host(), lookup.ErrUnsupported, key.Type)
	}
	body, err := c.get(ctx, c.api.Base()+path, key.Value)
	if err != nil {
		return intel.Report{}, err
	}
	report, err := intel.ParseReport(body)
	if err != nil {
		return intel.Report{}, fmt.Errorf("%s: %w: %w", c.api.Host(), lookup.ErrBadAnswer, err)
	}
	return report, nil
}

// Vote casts a vote about key: that it is malicious, or that it is not. The API answers nothing that could be checked,
// so status 200 means accepted. Detection names cannot be voted on.
func (c *Client) Vote(ctx context.Context, key extract.Key, malicious bool) error {
	if key.Type == extract.None || key.Type == extract.Antivirus {
		return fmt.Errorf("%s: %w: %s", c.api.Host(), lookup.ErrUnsupported, key.Type)
	}
	root := strings.TrimSuffix(c.api.Base(), DefaultPath)
	vote := "1" // unlike in reports, where 1 means not malicious, too, but malicious is -1
	if malicious {
		vote = "0"
	}
	_, err := c.get(ctx, root+"/vote.php?vote="+vote+"&value="+httpapi.Escape(key.Value), key.Value)
	return err
}

// reportPath returns path and query of the question about key, below the base URL.
func reportPath(key extract.Key) (string, bool) {
	value := httpapi.Escape(key.Value)
	switch key.Type {
	case extract.Domain:
		return "/domain/report/?domain=" + value, true
	case extract.IP:
		return "/ip/report/?ip=" + value, true
	case extract.Email:
		return "/email/report/?email=" + value, true
	case extract.Antivirus:
		return "/antivirus/report/?antivirus=" + value, true
	case extract.MD5, extract.SHA1, extract.SHA256, extract.SHA512:
		return "/file/report/?resource=" + value, true
	}
	return "", false
}

func (c *Client) get(ctx context.Context, target, value string) ([]byte, error) {
	return c.api.Get(ctx, httpapi.Request{URL: target, Secrets: []string{value}})
}

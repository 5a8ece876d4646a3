package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/httpclient"
	"iocpipe/lookup"
	"iocpipe/lookup/httpapi"
	"iocpipe/lookup/otx"
	"iocpipe/lookup/threatcrowd"
)

// A client speaks the language of one kind of source.
type client interface {
	lookup.Provider
	Local() bool            // the source is on this host or a private network
	Types() extract.TypeSet // what it can be asked about
}

// notAsked says why n, whose types lack t, is not asked about it.
func (n *network) notAsked(t extract.Type) string {
	if c, ok := n.Provider.(client); ok && !c.Types().Has(t) {
		return fmt.Sprintf("it cannot be asked about %s", t)
	}
	return fmt.Sprintf("--ask does not name %s for it", t)
}

// api returns where the API of a source is and how to reach it.
func (f *sourceFlags) api(source string, settings sourceConfig) (httpapi.Config, error) {
	base := source
	if isOTX(source) {
		if base = cmp.Or(strings.TrimPrefix(source, "otx:"), otx.DefaultURL); !isURL(base) {
			return httpapi.Config{}, usagef("--intel otx: is followed by nothing or by an http(s):// URL; a key belongs in OTX_API_KEY, or in the key-file of its settings")
		}
	}
	if u, err := url.Parse(base); err == nil && u.User != nil {
		return httpapi.Config{}, usagef("--intel: a URL with a user or password can be read by everyone on this host; the API needs neither")
	}
	timeout := httpapi.DefaultTimeout
	if isOTX(source) {
		timeout = otx.DefaultTimeout
	}
	if settings.Timeout != "" {
		var err error
		if timeout, err = time.ParseDuration(settings.Timeout); err != nil || timeout <= 0 {
			return httpapi.Config{}, usagef("sources: timeout %q of %s: say a time such as 20s", annotate.Safe(settings.Timeout), hostOf(base))
		}
	}
	f.longest = max(f.longest, timeout)
	return httpapi.Config{
		BaseURL: base, ProxyURL: settings.Proxy, CAFile: settings.CA, Timeout: timeout,
		UserAgent: "iocpipe/" + version(), InsecureHTTP: f.insecureHTTP,
	}, nil
}

// newClient returns the client of a source, and how often it may be asked unless somebody says otherwise.
func newClient(source string, api httpapi.Config, settings sourceConfig) (c client, usual string, err error) {
	if isOTX(source) {
		c, usual, err = newOTX(api, settings)
	} else {
		usual = publicRate
		c, err = newThreatCrowd(api, settings)
	}
	switch {
	case errors.Is(err, httpclient.ErrPlainHTTP):
		return nil, "", usagef("--intel: %v; --insecure-http allows it", err)
	case err != nil:
		return nil, "", usagef("--intel: %v", err)
	}
	return c, usual, nil
}

func newThreatCrowd(api httpapi.Config, settings sourceConfig) (client, error) {
	if settings.KeyFile != "" || settings.Threshold != 0 {
		return nil, errors.New("sources: key-file and threshold are settings of otx: alone")
	}
	return threatcrowd.New(api)
}

// isOTX reports whether an --intel names OTX: otx: for the public host, otx:URL for another.
func isOTX(source string) bool { return strings.HasPrefix(source, "otx:") }

// otxKeyVariable holds the key of OTX, unless the settings of the source name a file.
const otxKeyVariable = "OTX_API_KEY"

// newOTX is newClient for OTX.
func newOTX(api httpapi.Config, settings sourceConfig) (c client, usual string, err error) {
	if settings.Threshold < 0 {
		return nil, "", fmt.Errorf("sources: threshold %d: must be at least 1", settings.Threshold)
	}
	key, err := otxKey(settings.KeyFile)
	if err != nil {
		return nil, "", err
	}
	usual, hint := publicRate, "the key of "+cmp.Or(settings.KeyFile, otxKeyVariable)+" is wrong or has no right to ask"
	if key == "" {
		usual, hint = keylessRate, "there is no key: put one into "+otxKeyVariable+" or into the key-file of its settings"
	}
	c, err = otx.New(otx.Config{Config: api, Key: key, DeniedHint: hint, Threshold: settings.Threshold})
	return c, usual, err
}

// otxKey returns the key in file, or without one that of the environment, which may have none.
func otxKey(file string) (string, error) {
	if file == "" {
		return strings.TrimSpace(os.Getenv(otxKeyVariable)), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("sources: key-file: %w", err)
	}
	key := strings.TrimSpace(string(data))
	if key == "" {
		return "", errors.New("sources: key-file: " + file + " is empty")
	}
	return key, nil
}

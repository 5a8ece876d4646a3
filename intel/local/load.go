package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

// maxReportLine bounds a report line, in bytes.
const maxReportLine = 16 << 20

// Load reads files of local intelligence, and all files below folders: report lines (NDJSON), and plain lists of one
// value per line with # or ; comments. A feed's name is its file's, without extension. What cannot be read is left out
// and told in errs, one error for each file; the store is good with the rest.
func Load(paths []string) (store *Store, errs []error) {
	store = newStore()
	for _, path := range paths {
		err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				errs = append(errs, err)
				return nil
			}
			hidden := strings.HasPrefix(d.Name(), ".") && d.Name() != "." && d.Name() != ".."
			if d.IsDir() {
				if hidden {
					return fs.SkipDir
				}
				return nil
			}
			if !hidden {
				if err := store.loadFile(path); err != nil {
					errs = append(errs, err)
				}
			}
			return nil
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	return store, errs
}

func (s *Store) loadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := filepath.Base(path)
	if err := s.load(f, strings.TrimSuffix(name, filepath.Ext(name))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// load adds the lines of r. Its error names the first line that was refused, and how many were.
func (s *Store) load(r io.Reader, source string) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxReportLine)
	var first error
	refused := 0
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff")))
		if err := s.addLine(line, source); err != nil {
			if refused++; first == nil {
				first = fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("after line %d: %w", n, err)
	}
	if refused > 1 {
		return fmt.Errorf("%w (and %d more lines that were left out)", first, refused-1)
	}
	return first
}

func (s *Store) addLine(line []byte, source string) error {
	if bytes.HasPrefix(line, []byte("{")) {
		key, report, err := intel.ParseReportLine(line)
		if err != nil {
			return err
		}
		s.addEntry(key, entry{source, &report})
		return nil
	}
	if comment := bytes.IndexAny(line, "#;"); comment >= 0 {
		line = bytes.TrimSpace(line[:comment])
	}
	if len(line) == 0 {
		return nil
	}
	return s.addListed(string(line), entry{source, listed})
}

var errNoIndicator = errors.New("no indicator")

// addListed adds one value of a plain list: an indicator, a network, *.domain, a URL, or host:port.
func (s *Store) addListed(value string, e entry) error {
	if p, err := netip.ParsePrefix(value); err == nil {
		s.addNetwork(p, e)
		return nil
	}
	if name, ok := strings.CutPrefix(value, "*."); ok {
		domain, ok := extract.ParseDomain(name)
		if !ok {
			return fmt.Errorf("%w: %q", errNoIndicator, value)
		}
		s.below[domain] = e
		return nil
	}
	if strings.Contains(value, "://") {
		return s.addURL(value, e)
	}
	if host, err := netip.ParseAddrPort(value); err == nil {
		value = host.Addr().String()
	}
	key, ok := extract.ParseKey(value)
	if !ok {
		return fmt.Errorf("%w: %q", errNoIndicator, value)
	}
	s.addEntry(key, e)
	return nil
}

// addURL keeps a URL for its host: an address is malicious, a name, which may serve more than that, is related.
func (s *Store) addURL(value string, e entry) error {
	u, err := url.Parse(value)
	if err != nil {
		return fmt.Errorf("URL: %w", err)
	}
	key, ok := extract.ParseKey(u.Hostname())
	if !ok {
		return fmt.Errorf("%w in the URL's host: %q", errNoIndicator, value)
	}
	if key.Type == extract.IP {
		s.addEntry(key, e)
		return nil
	}
	s.relations[key] = relation{intel.Relation{Key: key, Kind: intel.ByURL}, extract.Key{Type: extract.Domain, Value: value}, e}
	return nil
}

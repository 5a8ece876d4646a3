package enrich

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"iocpipe/sinks/elastic"
)

// A server is a Server that may be busy for a while.
type server struct {
	Server
	patience time.Duration
}

// do sends a request until the server takes it, or its patience is over. An error of the server's is an [*elastic.Error].
func (s *server) do(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	since := time.Now()
	for try := 0; ; try++ {
		answer, err := s.Do(ctx, method, path, query, body)
		var after time.Duration
		if err == nil {
			if err = answer.Err(); err == nil {
				return answer.Body, nil
			}
			after = answer.RetryAfter()
		}
		if !passes(err) || ctx.Err() != nil {
			return nil, err
		}
		if time.Since(since) > s.patience {
			return nil, fmt.Errorf("the server was waited for for %s: %w", s.patience, err)
		}
		if err := elastic.Sleep(ctx, cmp.Or(after, elastic.Backoff(try))); err != nil {
			return nil, err
		}
	}
}

// passes reports whether a request that ended with err may succeed later.
func passes(err error) bool {
	var answer *elastic.Error
	switch {
	case errors.Is(err, elastic.ErrUnknownServer):
		return false
	case errors.As(err, &answer):
		return isBusy(answer.Status)
	}
	return true // the network, or half an answer
}

func isBusy(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// statusOf returns the status of an error that is an answer, or 0.
func statusOf(err error) int {
	var answer *elastic.Error
	if errors.As(err, &answer) {
		return answer.Status
	}
	return 0
}

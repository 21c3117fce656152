// Package awssecret fetches secrets from AWS Secrets Manager and from the Parameter
// Store of Systems Manager.
//
// It makes the two signed requests that this takes on the SDK's core, which is linked
// for S3 anyway: credentials, region, profiles and AWS_ENDPOINT_URL are the SDK's own.
// The clients of both services would add some ten megabytes of code for them.
package awssecret

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

// maxAnswer is more than either service returns: a secret has at most 64 KiB.
const maxAnswer = 1 << 20

// Client asks AWS. It is safe for concurrent use.
type Client struct {
	HTTP http.RoundTripper
	Now  func() time.Time
}

// Secret returns a secret of Secrets Manager by its name or ARN. Behind #, a member of
// the JSON object in it is named. Its errors hold no secret.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
func (c *Client) Secret(ctx context.Context, name string) (string, error) {
	name, member, hasMember := strings.Cut(name, "#")
	var out struct {
		SecretString *string
		SecretBinary *string
	}
	if err := c.call(ctx, "secretsmanager", "secretsmanager.GetSecretValue", map[string]any{"SecretId": name},
		&out); err != nil {
		return "", err
	}
	var text string
	switch {
	case out.SecretString != nil:
		text = *out.SecretString
	case out.SecretBinary != nil:
		data, err := base64.StdEncoding.DecodeString(*out.SecretBinary)
		if err != nil {
			return "", errors.New("the secret is binary, and no base64")
		}
		text = string(data)
	}
	if !hasMember {
		return strings.TrimRight(text, "\r\n"), nil // as a file's: an editor has put it there
	}
	var members map[string]any
	if json.Unmarshal([]byte(text), &members) != nil {
		return "", fmt.Errorf("the secret is no JSON object, so that it has no member %s", member)
	}
	v, ok := members[member]
	if !ok {
		return "", fmt.Errorf("the secret has no member %s", member)
	}
	switch v := v.(type) {
	case nil:
		return "", fmt.Errorf("the member %s of the secret is null", member)
	case string:
		return strings.TrimRight(v, "\r\n"), nil
	}
	data, err := json.Marshal(v)
	return string(data), err
}

// Parameter returns a parameter of the Parameter Store, decrypted. Its errors hold no
// secret.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
func (c *Client) Parameter(ctx context.Context, name string) (string, error) {
	var out struct{ Parameter struct{ Value string } }
	err := c.call(ctx, "ssm", "AmazonSSM.GetParameter", map[string]any{"Name": name, "WithDecryption": true}, &out)
	return strings.TrimRight(out.Parameter.Value, "\r\n"), err
}

// call makes one request of the services' JSON protocol.
func (c *Client) call(ctx context.Context, service, target string, in, out any) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("the AWS configuration cannot be read: %w", err)
	}
	endpoint := aws.ToString(cfg.BaseEndpoint)
	if endpoint == "" {
		if cfg.Region == "" {
			return errors.New("no AWS region is set: set AWS_REGION, or region in the profile")
		}
		domain := "amazonaws.com"
		if strings.HasPrefix(cfg.Region, "cn-") {
			domain += ".cn"
		}
		endpoint = "https://" + service + "." + cfg.Region + "." + domain
	} else if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	wait := retry.NewExponentialJitterBackoff(maxWait)
	for attempt := 0; ; attempt++ {
		again, err := c.ask(ctx, cfg, service, target, strings.TrimSuffix(endpoint, "/")+"/", body, out)
		if err == nil || !again || attempt == attempts-1 {
			return err
		}
		d, wrong := wait.BackoffDelay(attempt, err)
		if wrong != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(d):
		}
	}
}

// As the SDK's own clients have it.
const (
	attempts = 3
	maxWait  = 5 * time.Second
)

// ask makes the request once. again says that it may succeed another time.
func (c *Client) ask(ctx context.Context, cfg aws.Config, service, target, endpoint string, body []byte, out any) (
	again bool, err error,
) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("the AWS endpoint is no address: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return false, fmt.Errorf("there are no AWS credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err = v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), service, cfg.Region,
		c.Now()); err != nil {
		return false, fmt.Errorf("signing the request: %w", err)
	}
	resp, err := c.HTTP.RoundTrip(req)
	if err != nil {
		return ctx.Err() == nil, fmt.Errorf("asking %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return true, fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct {
			Type     string `json:"__type"`
			Message  string
			Message2 string `json:"message"`
		}
		_ = json.Unmarshal(data, &problem) // what it is not is empty
		kind := problem.Type[strings.LastIndexByte(problem.Type, '#')+1:]
		again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || slices.Contains(throttled, kind)
		return again, fmt.Errorf("%s answered %d %s: %s%s", req.URL.Host, resp.StatusCode, kind, problem.Message,
			problem.Message2)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return false, fmt.Errorf("the answer of %s is not what it documents", req.URL.Host)
	}
	return false, nil
}

// throttled are the errors by which AWS says that it was asked too often.
var throttled = []string{"ThrottlingException", "Throttling", "ThrottledException", "RequestThrottledException",
	"TooManyRequestsException", "RequestLimitExceeded"}

package destination

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Keys are headers that let a receiver recognise a request that it has had before (idempotency keys). The key is
// the insert id of the only delivery, or a hash of the ids of several: so a request with the same deliveries
// always has the same key, even after the process was killed.
type Keys struct {
	Header string // the name of the header with the key; "": none
	// Webhook puts the key into Webhook-Id and the time of sending into Webhook-Timestamp, for [SignWebhook].
	Webhook bool
}

// The headers of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	webhookID        = "Webhook-Id"
	webhookTime      = "Webhook-Timestamp"
	webhookSignature = "Webhook-Signature"
)

// put sets the headers of a request that carries deliveries.
func (k Keys) put(h http.Header, ds []*Delivery, now time.Time) {
	if k == (Keys{}) {
		return
	}
	key := keyOf(ds)
	if name := http.CanonicalHeaderKey(k.Header); name != "" && h[name] == nil { // the action may set its own
		h[name] = []string{key}
	}
	if k.Webhook {
		h[webhookID] = []string{key}
		h[webhookTime] = []string{strconv.FormatInt(now.Unix(), 10)}
	}
}

// longestKey is the longest id that is used as the key unchanged: receivers often keep keys in columns of 255
// characters.
const longestKey = 255

// keyOf is the key of a request. Longer ids, and ids with characters that a header cannot hold, are hashed: an id
// comes from the event, and may be anything.
func keyOf(ds []*Delivery) string {
	if len(ds) == 1 {
		if id := ds[0].InsertID; id != "" && len(id) <= longestKey && httpguts.ValidHeaderFieldValue(id) &&
			strings.TrimSpace(id) == id {
			return id
		}
	}
	sum := sha256.New()
	for _, d := range ds {
		sum.Write(binary.AppendUvarint(nil, uint64(len(d.InsertID))))
		sum.Write([]byte(d.InsertID))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// SignWebhook signs requests as Standard Webhooks specifies: HMAC-SHA256 over the id, the time and the body, with
// a secret that is base64 after the prefix whsec_. The spec's Keys must set Webhook, too.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func SignWebhook(secret string) (Auth, error) {
	key, err := webhookKey(secret)
	if err != nil {
		return Auth{}, err
	}
	return Sign(func(h http.Header, body []byte) {
		m := hmac.New(sha256.New, key)
		for _, name := range []string{webhookID, webhookTime} {
			for _, v := range h[name] {
				m.Write([]byte(v))
			}
			m.Write([]byte("."))
		}
		m.Write(body)
		h[webhookSignature] = []string{"v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))}
	}), nil
}

// SignBody puts the HMAC-SHA256 of the body, in hex, into a header.
func SignBody(header, secret string) Auth {
	key, name := []byte(secret), http.CanonicalHeaderKey(header)
	return Sign(func(h http.Header, body []byte) {
		m := hmac.New(sha256.New, key)
		m.Write(body)
		h[name] = []string{hex.EncodeToString(m.Sum(nil))}
	})
}

// webhookKey decodes a secret.
func webhookKey(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errors.New("has to be base64, with whsec_ before it or not")
	}
	return key, nil
}

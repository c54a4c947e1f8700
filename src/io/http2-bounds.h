/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Http2-bounds: follows the frame heads of one direction of a connection, for
 * the two things that nghttp2 does not tell: whether a frame is half here (a
 * peer that stops in the middle of one must not hold a connection), and how
 * many frames only make work (floods of PING, SETTINGS, RST_STREAM and the like).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/pace.h"

struct sonde_http2_bounds {
	uint8_t head[9];
	unsigned n_head;
	unsigned preface_left; /* of the client's connection preface */
	uint32_t body_left;
	bool block_open;	/* HEADERS without END_HEADERS: a CONTINUATION must come */
	uint64_t n_frames;	/* whole ones */
	struct sonde_pace pace; /* of control frames */
};

/* @server: the bytes come from a client, so a preface leads them. @burst, @per_s > 0. */
void sonde_http2_bounds_init(struct sonde_http2_bounds *b, bool server, unsigned burst,
			     unsigned per_s);

/* Return: 0, -EBUSY when the control frames came too fast. */
int sonde_http2_bounds_feed(struct sonde_http2_bounds *b, const uint8_t *data, size_t n,
			    uint64_t now_ns) _must_check_;

bool sonde_http2_bounds_midway(const struct sonde_http2_bounds *b);

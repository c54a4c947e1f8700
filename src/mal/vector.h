/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Vector: one expression and its scrapes as a line of JSON, and the answer as another, for
 * comparing engines. In: {"id", "exp", "scrapes": [{METRIC: [{"l": labels, "v": value, "t": ms}]}]}.
 * Out: {"id", "res": [one entry a scrape]}, an entry being {"err": words}, {"empty": true} or
 * {"s": [samples {l, v, t, n}], "e": [entities with their fields and samples "s"]}; a line that is
 * no such object gives {"id": null, "err": words}. Each line has its own counter window. An
 * answer depends on no cluster: vectors prescribe what look-ups find, and no name is cut. Any thread.
 */

#include "base/buf.h"
#include "mal/run.h"
#include "mal/sample.h"

#define SONDE_MAL_VECTOR_BYTES (8U << 20)  /* of one line */
#define SONDE_MAL_ANSWER_BYTES (64U << 20) /* of its answer; beyond it the answer is an error */
#define SONDE_MAL_SCRAPES_MAX 4096	   /* of one line */

/*
 * Appends the answer and a line feed; a line that is too long, or wrong in any other way, is answered too.
 * Return: 0, -ENOMEM, -EMSGSIZE (@out takes less than SONDE_MAL_ANSWER_BYTES).
 */
int sonde_mal_vector_answer(const char *line, size_t len, struct sonde_buf *out) _must_check_;

/* As vectors prescribe: a pod's service is "POD.NAMESPACE", every process "mock-process-id". */
extern const struct sonde_mal_host sonde_mal_vector_host;

struct json_t;

/*
 * Empties the batch and fills it with {METRIC: [{"l": labels, "v": value, "t": ms}]}. Return: 0; what
 * sonde_mal_batch_add() says, or -EINVAL, with *@ret_why told, which is static.
 */
int sonde_mal_scrape_read(struct sonde_mal_batch *b, const struct json_t *scrape,
			  const char **ret_why) _must_check_;

/* The same for a line that the caller could not read: {"id": null, "err": @words}. */
int sonde_mal_vector_refuse(const char *words, struct sonde_buf *out) _must_check_;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sampling: the rules of an OAP's network task that say which HTTP requests are
 * worth a sample (member `NetworkSamplings` of ExtensionConfigJSON). Hostile:
 * bounded, each rule checked on its own. They are kept with their task and merged
 * when it is extended; no sample is taken while layer 7 is not observed. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_SAMPLING_RULES_MAX 32
#define SONDE_SAMPLING_REGEX_MAX 513 /* bytes with NUL; OAP keeps 1,000 of all rules together */
#define SONDE_SAMPLING_WORDS_MAX 160

struct sonde_sampling_rule {
	char uri_regex[SONDE_SAMPLING_REGEX_MAX]; /* "": any URI */
	int64_t min_duration_ms;		  /* -1: not by duration */
	bool when_4xx, when_5xx;
	bool complete_request, complete_response;
	int64_t max_request_bytes, max_response_bytes; /* 0: all of it */
};

struct sonde_sampling {
	struct sonde_sampling_rule *rules; /* owned; of two that match the later counts */
	size_t n;
};

void sonde_sampling_done(struct sonde_sampling *s);

/*
 * sonde_sampling_parse() - the rules of an ExtensionConfigJSON; members that are not known are ignored
 * @ret: the good ones; to be freed
 * @words: why the first of the others was left out; "" if there is none
 * Return: how many were left out, a whole list that is none counts as one; -ENOMEM.
 */
int sonde_sampling_parse(const char *text, size_t n, struct sonde_sampling *ret,
			 char words[SONDE_SAMPLING_WORDS_MAX]) _must_check_;

/*
 * Adds @from's rules behind @to's; one for the same URIs takes the place of the earlier one.
 * Return: how many found no room, -ENOMEM.
 */
int sonde_sampling_merge(struct sonde_sampling *to, const struct sonde_sampling *from) _must_check_;

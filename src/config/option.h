/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One row of an option table at work: text in, text out, ownership. For this folder only. */

#include "base/buf.h"
#include "config/config.h"

#define SONDE_OPTION_VALUE_MAX (64UL * 1024) /* bytes of one value as text */

/* "a duration from 100ms to 5m (such as 10s)". */
int sonde_option_expected(const struct sonde_option *o, struct sonde_buf *out) _must_check_;

/* "duration", "text": the word of the reference page. */
const char *sonde_option_type_word(const struct sonde_option *o);

/*
 * Sets the field from one word; of STRINGS from words with commas. The old value is freed.
 * Return: 0, -EINVAL, -ERANGE (the field is as it was), -ENOMEM. Not for LIST.
 */
int sonde_option_set(const struct sonde_option *o, void *base, const char *text) _must_check_;

/* STRINGS only: adds one word. Return: 0, -EINVAL, -ERANGE (too many), -ENOMEM. */
int sonde_option_add(const struct sonde_option *o, void *base, const char *text) _must_check_;

/* Appends the value as YAML flow text. Not for LIST. 0, -ENOMEM, -EMSGSIZE. */
int sonde_option_print(const struct sonde_option *o, const void *base,
		       struct sonde_buf *out) _must_check_;

/* A text or a list of texts that is not empty? */
bool sonde_option_is_set(const struct sonde_option *o, const void *base);

/* REQUIRED and empty? */
bool sonde_option_missing(const struct sonde_option *o, const void *base);

/* All fields of a zeroed struct to their defaults. Return: 0, -ENOMEM, -EINVAL (a bad table). */
int sonde_option_defaults(const struct sonde_option *table, void *base) _must_check_;

/* Frees what the fields own and zeroes them. */
void sonde_option_release(const struct sonde_option *table, void *base);

/* LIST: room for @n zeroed elements in an empty list. */
int sonde_option_make_list(const struct sonde_option *o, void *base, size_t n) _must_check_;
void *sonde_option_element(const struct sonde_option *o, const void *base, size_t i);
size_t sonde_option_count(const struct sonde_option *o, const void *base);

/* Largest count of a STRINGS or LIST. */
size_t sonde_option_limit(const struct sonde_option *o);

/* "SONDE_AGENT_BACKEND_POLL" and "backend-poll". False: the row has none. */
bool sonde_option_env(const struct sonde_config_spec *spec, const struct sonde_option *o,
		      char ret[static SONDE_CONFIG_KEY_MAX * 2]);
bool sonde_option_flag(const struct sonde_option *o, char ret[static SONDE_CONFIG_KEY_MAX]);

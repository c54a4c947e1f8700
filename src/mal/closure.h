/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values while a closure runs. Folder-private. */

#include "mal/eval.h"

struct mal_value {
	enum mal_value_type type; /* never ANY */
	union {
		uint32_t string; /* NULL: MAL_STR_NULL */
		struct {
			double value;
			int64_t integer;
			bool is_integer;
		} number;
		bool boolean;
		struct {
			const uint32_t *v; /* ids, null possible; MATCH: its only row */
			size_t n;
		} array;
		struct mal_labels *labels;
		struct mal_entity *entity;
	};
};

struct mal_frame {
	struct mal_value locals[MAL_LOCALS_MAX];
	struct mal_labels *result; /* what was returned, NULL: nothing */
};

struct mal_value mal_value_string(uint32_t id);
struct mal_value mal_value_integer(int64_t v);
struct mal_value mal_value_bool(bool v);
int mal_value_intern(struct mal_eval *ev, const char *text, size_t len, uint32_t *ret) _must_check_;

/* Text of @a, with that of @b behind it where @b is not NULL. */
int mal_value_text(struct mal_eval *ev, const struct mal_value *a, const struct mal_value *b,
		   uint32_t *ret) _must_check_;

int mal_cx_eval(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		struct mal_value *ret) _must_check_;

/* The same, of a value that has to be a string or null. */
int mal_cx_eval_string(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		       uint32_t *ret) _must_check_;

/* Groovy's truth: null, "", 0, false and what is empty are false. */
bool mal_value_truth(const struct mal_eval *ev, const struct mal_value *v);

int mal_labels_set(struct mal_eval *ev, struct mal_labels *l, uint32_t key,
		   uint32_t value) _must_check_;

/* A method of a string or an array. */
int mal_method_call(struct mal_eval *ev, const struct mal_cx *c, const struct mal_value *on,
		    const struct mal_value *args, struct mal_value *ret) _must_check_;

/* --- the host, asked once a run for the same arguments --- */

int mal_host_process(struct mal_eval *ev, enum sonde_mal_virtual kind,
		     const uint32_t args[static 3], uint32_t *ret) _must_check_;

/* *@ret is "" where the host knows no service. */
int mal_host_pod_service(struct mal_eval *ev, uint32_t pod, uint32_t name_space,
			 uint32_t *ret) _must_check_;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bundle store: a task out of this server, and into it. What comes in is applied like a report: the bundle itself is
 * stored with the task in one transaction, the series are written behind, and after a crash they are made of the stored
 * bundle again. So a task is imported whole or not at all. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/problem.h"
#include "base/buf.h"

/* Appends the bundle of @t, which must have ended. Return: 0, -EINVAL with *@problem filled (409, 413), -ENOMEM, -errno of the store. */
int sonde_bundle_export(struct sonde_backend *b, const struct sonde_task *t, struct sonde_buf *out,
			struct sonde_problem *problem) _must_check_;

/*
 * sonde_bundle_import() - take a bundle in
 * @as: the id that the task gets here; NULL or "": its own
 * @done: exactly once on 0, when it is stored or not (then the task is gone again)
 *
 * Return: 0, -EINVAL with *@problem filled (400, 409, 413, 503), -ENOMEM, -errno of the store.
 */
int sonde_bundle_import(struct sonde_backend *b, const void *data, size_t n, const char *as,
			int64_t now_ms, sonde_store_done_fn done, void *ctx,
			struct sonde_task **ret, struct sonde_problem *problem) _must_check_;

/* The series and names of a stored bundle again, as report @serial. Return: 0, -EBADMSG, -ENOMEM, -errno of the store. */
int sonde_bundle_replay(struct sonde_series_table *series, struct sonde_registry *registry,
			const char *task, const void *data, size_t n, int64_t serial,
			int64_t now_ms) _must_check_;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests as commands make them: a fault is printed here and comes back as an exit status. */

#include "ctl/cli.h"
#include "ctl/rest.h"

/* "/api/v1/tasks/{id}SUFFIX". @suffix begins with a slash or is "". Return: 0 or an exit status. */
int sonde_cli_get_task(struct sonde_cli *cli, const char *id, const char *suffix,
		       struct sonde_rest_answer *ret) _must_check_;

/* Any path. @body NULL = GET: a flag's value that the server cannot read is a usage fault. Return: 0 or an exit status. */
int sonde_cli_request(struct sonde_cli *cli, const char *path, const char *body,
		      struct sonde_rest_answer *ret) _must_check_;

/* The same by any method, "DELETE" or "PUT". Return: 0 or an exit status. */
int sonde_cli_send(struct sonde_cli *cli, const char *method, const char *path, const char *body,
		   struct sonde_rest_answer *ret) _must_check_;

/* The same with @body for a task. */
int sonde_cli_post_task(struct sonde_cli *cli, const char *id, const char *suffix, const char *body,
			struct sonde_rest_answer *ret) _must_check_;

/* Appends "/api/v1/tasks/{id}SUFFIX". Return: 0, -EINVAL (no id), -EMSGSIZE, -ENOMEM. */
int sonde_cli_task_path(const char *id, const char *suffix, struct sonde_buf *out) _must_check_;

/* Tells why that gave no path. Return: an exit status. */
int sonde_cli_no_task_path(struct sonde_cli *cli, const char *id, int error);

/* Appends "?NAME=VALUE", or "&…" behind another one; nothing for a NULL @value. Return: 0, -EMSGSIZE, -ENOMEM. */
int sonde_cli_add_parameter(struct sonde_buf *path, const char *name,
			    const char *value) _must_check_;

/* Tells what sonde_rest_request() returned, if it was no success. Return: 0 or an exit status. */
int sonde_cli_tell(struct sonde_cli *cli, int r, const struct sonde_rest_answer *answer);

/* Exit status for an HTTP status that is no success. */
int sonde_cli_status_of(long http_status);

/*
 * With -o json the answer verbatim, bytes that could steer a terminal as \uNNNN; else in the form of -o (output.h).
 * Return: an exit status.
 */
int sonde_cli_print_json(struct sonde_cli *cli, const struct sonde_rest_answer *answer);

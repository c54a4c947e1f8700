/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Id: the entity ids that SkyWalking stores and queries by. Base64 is the standard alphabet with
 * padding over UTF-8; a blank name (NULL, empty, white space) becomes `_blank`. Pure functions.
 */

#include "base/cleanup.h"

/* Lower hex of a SHA-256, with its NUL. */
#define SONDE_MAL_PROCESS_ID_SIZE 65

/* Names of the processes that stand for peers which nobody watches. */
#define SONDE_MAL_UNKNOWN_LOCAL "UNKNOWN_LOCAL"
#define SONDE_MAL_UNKNOWN_REMOTE "UNKNOWN_REMOTE"

/* base64(name) ".1". *@ret is the caller's to free(). Return: 0, -EOVERFLOW (absurd length), -ENOMEM. */
int sonde_mal_service_id(const char *service, char **ret) _must_check_;

/* service id "_" base64(instance). An endpoint's id has the same form. */
int sonde_mal_instance_id(const char *service, const char *instance, char **ret) _must_check_;

/* Lower hex of SHA-256 over process name "_" instance id. Return: 0, -EOVERFLOW, -ENOMEM. */
int sonde_mal_process_id(const char *process, const char *service, const char *instance,
			 char ret[static SONDE_MAL_PROCESS_ID_SIZE]) _must_check_;

/* source "-" destination: the id of a relation between two services, instances or processes. */
int sonde_mal_relation_id(const char *source_id, const char *dest_id, char **ret) _must_check_;

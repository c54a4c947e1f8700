/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The steps of a load, and the list of complaints. For this folder only. */

#include "config/option.h"
#include "config/yaml.h"

struct sonde_config_args;

struct sonde_config_faults {
	struct sonde_buf text; /* at most SONDE_CONFIG_ERRORS_MAX lines */
	unsigned int n;
	int error; /* -ENOMEM, or 0 */
};
#define SONDE_CONFIG_FAULTS_INIT ((struct sonde_config_faults){.text = SONDE_BUF_INIT(64UL * 1024)})

static inline void sonde_config_faults_done(struct sonde_config_faults *f)
{
	sonde_buf_done(&f->text);
}

void sonde_config_complain(struct sonde_config_faults *f, const char *fmt, ...) _printf_(2, 3);
/* "WHERE: expected a port from 1 to 65535, got 'x'". @got NULL: not said. */
void sonde_config_expected(struct sonde_config_faults *f, const char *where,
			   const struct sonde_option *o, const char *got);
/* Return: 0 = no fault, -EINVAL with *@ret_error, -ENOMEM. */
int sonde_config_verdict(struct sonde_config_faults *f, char **ret_error);

/* Each: 0 (faults may have been noted), -ENOMEM, -EINVAL (a bad table). */
int sonde_config_apply_text(const struct sonde_config_spec *spec, const char *text, size_t len,
			    const char *name, struct sonde_config_faults *f, void *config);
int sonde_config_apply_env(const struct sonde_config_spec *spec, struct sonde_config_faults *f,
			   void *config);
int sonde_config_apply_flags(const struct sonde_config_args *args, struct sonde_config_faults *f,
			     void *config);
/* @args: NULL = none. @name: of the file; who else may have set what is wrong is found by its key. */
int sonde_config_finish(const struct sonde_config_spec *spec, const struct sonde_config_args *args,
			const char *name, struct sonde_config_faults *f, void *config);

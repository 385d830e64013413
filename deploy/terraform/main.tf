# The IAM roles of the daemon, from what `poller iam` prints.
#
#   poller iam -c poller.toml > policies.json
#   terraform apply -var policies=policies.json -var 'trusted_services=["ecs-tasks.amazonaws.com"]'
#
# The daemon's own role gets the policy of its identity. Each further role of the settings (`role_arn`) gets its policy,
# and trusts the daemon's own role. So a change of the settings is a new policies.json and another apply.
# A role of another account cannot be made here: the output roles_of_other_accounts names it.

terraform {
  required_version = ">= 1.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }
}

variable "name" {
  description = "The name of the daemon's own role, and the beginning of the names of its policies."
  type        = string
  default     = "poller"
}

variable "policies" {
  description = "The file that `poller iam` has printed."
  type        = string
}

variable "trusted_services" {
  description = "The services that run the daemon: ec2.amazonaws.com, ecs-tasks.amazonaws.com or pods.eks.amazonaws.com."
  type        = list(string)
  default     = ["ec2.amazonaws.com"]
}

data "aws_caller_identity" "current" {}

locals {
  own      = "the daemon's own identity"
  policies = jsondecode(file(var.policies))

  # The ARN arn:aws:iam::123456789012:role/team/reader has the account 123456789012, the path /team/ and the name reader.
  arns = {
    for arn in keys(local.policies) :
    arn => regex("^arn:[^:]+:iam::(?P<account>[^:]+):role(?P<path>/(?:.*/)?)(?P<name>[^/]+)$", arn) if arn != local.own
  }

  roles = { for arn, parts in local.arns : arn => parts if parts.account == data.aws_caller_identity.current.account_id }
}

resource "aws_iam_role" "daemon" {
  name = var.name

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = contains(var.trusted_services, "pods.eks.amazonaws.com") ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]
      Principal = { Service = var.trusted_services }
    }]
  })
}

resource "aws_iam_role_policy" "daemon" {
  count = contains(keys(local.policies), local.own) ? 1 : 0

  name   = var.name
  role   = aws_iam_role.daemon.id
  policy = jsonencode(local.policies[local.own])
}

resource "aws_iam_role" "settings" {
  for_each = local.roles

  name = each.value.name
  path = each.value.path

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { AWS = aws_iam_role.daemon.arn }
    }]
  })
}

resource "aws_iam_role_policy" "settings" {
  for_each = local.roles

  name   = var.name
  role   = aws_iam_role.settings[each.key].id
  policy = jsonencode(local.policies[each.key])
}

output "role_arn" {
  description = "The role with which the daemon runs."
  value       = aws_iam_role.daemon.arn
}

output "roles_of_other_accounts" {
  description = "Make these roles in their accounts: each trusts role_arn, and gets what `poller iam --role` prints for it."
  value       = setsubtract(keys(local.arns), keys(local.roles))
}

# The IAM roles of the daemon, from what `poller iam` prints.
#
#   poller iam -c poller.toml > policies.json
#   terraform apply -var policies=policies.json -var 'trusted_services=["ecs-tasks.amazonaws.com"]'
#
# The daemon's own role gets the policy of its identity. Each further role of the settings (`role_arn`) gets its policy,
# and trusts the daemon's own role. So a change of the settings is a new policies.json and another apply.

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

locals {
  own      = "the daemon's own identity"
  policies = jsondecode(file(var.policies))

  # The roles by their names: the last part of an ARN like arn:aws:iam::123456789012:role/team/reader.
  roles = { for arn, policy in local.policies : reverse(split("/", arn))[0] => policy if arn != local.own }
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

  name = each.key

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
  policy = jsonencode(each.value)
}

output "role_arn" {
  description = "The role with which the daemon runs."
  value       = aws_iam_role.daemon.arn
}

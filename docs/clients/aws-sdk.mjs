// AWS, where the service's kind is aws-sigv4: the token goes in as the id of the
// key (docs/auth/aws-sigv4.md).
import {ListBucketsCommand, S3Client} from "@aws-sdk/client-s3";

const s3 = new S3Client({
  region: "us-east-1",
  endpoint: process.env.AGENT_VAULT_ADDR + "/proxy/s3.us-east-1.amazonaws.com",
  forcePathStyle: true,
  credentials: {accessKeyId: process.env.AGENT_VAULT_SESSION_TOKEN, secretAccessKey: "unused"},
});
console.log((await s3.send(new ListBucketsCommand({}))).Buckets.map((bucket) => bucket.Name));

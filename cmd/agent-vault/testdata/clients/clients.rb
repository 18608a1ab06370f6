# CELL URL FILE: what the matrix of clients asks of Net::HTTP.
require "net/http"
require "digest"

$stdout.sync = true
cell, url, file = ARGV
uri = URI(url)
Net::HTTP.start(uri.host, uri.port, use_ssl: true) do |http|
  if cell == "upload"
    request = Net::HTTP::Put.new(uri)
    request.body_stream = File.open(file)
    request.content_length = File.size(file)
    puts http.request(request).code
  else
    http.request(Net::HTTP::Get.new(uri)) do |answer|
      case cell
      when "stream"
        sha = Digest::SHA256.new
        answer.read_body { |piece| sha << piece }
        puts sha.hexdigest
      when "events"
        answer.read_body { |piece| puts piece }
      else
        puts answer.code, answer.body
      end
    end
  end
end

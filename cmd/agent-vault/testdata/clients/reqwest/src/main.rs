// CELL URL FILE: what the matrix of clients asks of each.
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let (cell, url) = (args[1].as_str(), args[2].as_str());
    let client = reqwest::blocking::Client::new();
    if cell == "upload" {
        let sent = client.put(url).body(std::fs::File::open(&args[3])?).send()?;
        println!("{}", sent.error_for_status()?.text()?);
        return Ok(());
    }
    let mut answer = client.get(url).send()?;
    match cell {
        "stream" => {
            let (mut hash, mut buf) = (Sha256::new(), [0u8; 65536]);
            loop {
                let n = answer.read(&mut buf)?;
                if n == 0 {
                    break;
                }
                hash.update(&buf[..n]);
            }
            println!("{:x}", hash.finalize());
        }
        "events" => {
            for line in BufReader::new(answer).lines() {
                println!("{}", line?);
            }
        }
        _ => println!("{:?} {} {}", answer.version(), answer.status(), answer.text()?),
    }
    Ok(())
}
